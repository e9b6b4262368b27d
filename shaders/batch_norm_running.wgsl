// batch_norm_running.wgsl: running statistics, updated once a group, in the groups' order.
//
//   mean ← (1 − momentum) · mean + momentum · batch_mean[g];   variance likewise, with n / (n − 1) · batch_variance[g]
//
// Statistics that are not finite leave what was there: they come of an f16 overflow, in a step that is skipped.
//
// running: [C] in place; batch: [groups, C]. One invocation: one channel.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { groups: u32, channels: u32, momentum: f32, factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> batch: array<f32>;
@group(0) @binding(2) var<storage, read_write> running: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.channels) { return; }
  var value = running[id.x];
  for (var g = 0u; g < params.groups; g++) {
    value += params.momentum * (batch[g * params.channels + id.x] * params.factor - value);
  }
  // By the exponent's bits: WGSL lets a compiler assume that there is no infinity.
  if ((bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u) { running[id.x] = value; }
}
