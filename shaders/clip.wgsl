// clip.wgsl: what brings gradients of the squared norm Σ sums down to the norm `most`, as a factor.
//
//   norm = √(Σ sums),   factor = given · min(1, most / (norm + 1e-6)),   applied = 1
//
// With SCALED, `given` is what unscales the gradients (the sums are of unscaled ones), or 0 where the step is skipped;
// else it is 1. Where it is 0 or the norm is not finite, factor = applied = 0: the step is to be skipped.
// sums: [count]; given, norm, factor, applied: [1]. A single workgroup.

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
  // By its exponent's bits: WGSL lets a compiler assume that there is no infinity.
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
