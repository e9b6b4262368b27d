// batch_norm_running.wgsl: update of the running statistics, one update for each group in order, in place.
// mean, variance: [C]; batch_mean, batch_variance: [groups, C], the statistics of the batch.
//   mean ← (1 − momentum) · mean + momentum · batch_mean[g]
//   variance ← (1 − momentum) · variance + momentum · unbiased · batch_variance[g],  unbiased = n / (n − 1)
// A result that is not finite is not stored: it comes from an f16 overflow, in a step that is skipped.
// One thread handles one channel.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { groups: u32, channels: u32, momentum: f32, unbiased: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> batch_mean: array<f32>;
@group(0) @binding(2) var<storage, read> batch_variance: array<f32>;
@group(0) @binding(3) var<storage, read_write> mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> variance: array<f32>;

// Tests the exponent bits: WGSL lets a compiler assume that no value is infinite.
fn is_finite(value: f32) -> bool { return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u; }

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.channels) { return; }
  var m = mean[id.x];
  var v = variance[id.x];
  for (var g = 0u; g < params.groups; g++) {
    let at = g * params.channels + id.x;
    m += params.momentum * (batch_mean[at] - m);
    v += params.momentum * (batch_variance[at] * params.unbiased - v);
  }
  if (is_finite(m)) { mean[id.x] = m; }
  if (is_finite(v)) { variance[id.x] = v; }
}
