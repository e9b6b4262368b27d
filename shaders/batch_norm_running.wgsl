// batch_norm_running.wgsl: update of the running statistics, one update for each group in order, in place.
// running: [C]; batch: [groups, C], the batch statistics.
//   running ← (1 − momentum) · running + momentum · factor · batch[g]
//   factor = 1 for the mean, n / (n − 1) for the variance
// A result that is not finite is not stored: it comes from an f16 overflow, in a step that is skipped.
// One thread handles one channel.

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
  // Tests the exponent bits: WGSL lets a compiler assume that no value is infinite.
  if ((bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u) { running[id.x] = value; }
}
