// clip.wgsl: factor that clips gradients to the norm `most`.
// sums: [count], partial sums of squares of the unscaled gradients; given, norm, factor, applied: [1].
//   norm = √(Σ sums),   factor = given · min(1, most / (norm + 1e-6)),   applied = 1
// With SCALED, `given` is the factor that unscales the gradients, or 0 to skip the step; otherwise it counts as 1.
// If given is 0 or the norm is not finite, factor = applied = 0, which skips the step. A single workgroup runs.

// @specialize
const WORKGROUP_SIZE = 64u;
const SCALED = false;
// @end

struct Params { count: u32, most: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read> given: array<f32>;
@group(0) @binding(3) var<storage, read_write> norm: array<f32>;
@group(0) @binding(4) var<storage, read_write> factor: array<f32>;
@group(0) @binding(5) var<storage, read_write> applied: array<f32>;

var<workgroup> partial: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32) {
  var mine = 0.0;
  for (var s = lane; s < params.count; s += WORKGROUP_SIZE) { mine += sums[s]; }
  partial[lane] = mine;
  for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  if (lane != 0u) { return; }
  let square = partial[0];
  // Tests the exponent bits: WGSL lets a compiler assume that no value is infinite.
  let finite = (bitcast<u32>(square) & 0x7f800000u) != 0x7f800000u;
  var unscale = 1.0;
  if (SCALED) { unscale = given[0]; }
  let length = sqrt(square);
  norm[0] = length;
  factor[0] = 0.0;
  applied[0] = 0.0;
  if (finite && unscale != 0.0) {
    factor[0] = unscale * min(1.0, params.most / (length + 1e-6));
    applied[0] = 1.0;
  }
}
