// batch_norm_gradient_sums.wgsl: first pass of the batch-norm gradient.
// x, dy, y, masked: [groups, rows, C]; mean, gain, offset: [groups, C]; partial: [groups, strips, 2, C];
// C is a multiple of 4. The sums run over the rows of strip s.
//   g = dy or, with a fused ReLU, dy where the output of the ReLU is positive, else 0
//   partial[group, s, 0, c] = Σ g,  partial[group, s, 1, c] = Σ g · (x − mean)
// MASK computes the ReLU's mask again from x · gain + offset. MASK_FROM_Y reads it from y, where a residual was added.
// KEEP writes g to masked. batch_norm_statistics.wgsl explains how threads share a strip.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;
const AT_ONCE = 1u;
const MASK = false;
const MASK_FROM_Y = false;
const KEEP = false;
alias T = vec4f;    // vec4h for f16 storage
// @end

struct Params { rows: u32, channels4: u32, strip: u32, strips: u32, first_strip: u32, first_group: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<T>;
@group(0) @binding(2) var<storage, read> x: array<T>;
@group(0) @binding(3) var<storage, read> y: array<T>;
@group(0) @binding(4) var<storage, read> mean: array<vec4f>;
@group(0) @binding(5) var<storage, read> gain: array<vec4f>;
@group(0) @binding(6) var<storage, read> offset: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> partial: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> masked: array<T>;

const ITEMS = WORKGROUP_SIZE / SHARE;

struct Sums { a: vec4f, b: vec4f }

// The sums of a strip from those of the threads that share it. The result is valid in the first of these threads.
// @snippet total = alone
fn total(sums: Sums, local: u32) -> Sums { return sums; }
// @end
/* @snippet total = shared
var<workgroup> shared_a: array<vec4f, WORKGROUP_SIZE>;
var<workgroup> shared_b: array<vec4f, WORKGROUP_SIZE>;
fn total(sums: Sums, local: u32) -> Sums {
  var result = sums;
  shared_a[local] = sums.a;
  shared_b[local] = sums.b;
  workgroupBarrier();
  if (local < ITEMS) {
    for (var other = local + ITEMS; other < WORKGROUP_SIZE; other += ITEMS) {
      result.a += shared_a[other];
      result.b += shared_b[other];
    }
  }
  workgroupBarrier();
  return result;
}
@end */

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let items = (params.rows + params.strip - 1u) / params.strip * params.channels4;
  for (var start = workgroup.x * ITEMS; start < items; start += workgroups.x * ITEMS) {
    let i = start + local % ITEMS;
    let c = i % params.channels4;
    let s = i / params.channels4;
    let begin = s * params.strip;
    let count = select(0u, min(params.strip, params.rows - begin), i < items);
    let first = (workgroup.y * params.rows + begin) * params.channels4 + c;
    let group = (params.first_group + workgroup.y) * params.channels4 + c;
    let m = mean[group];
    var a: vec4f;
    var b: vec4f;
    if (MASK) { a = gain[group]; b = offset[group]; }
    var sums = Sums();
    for (var r = local / ITEMS; r < count; r += AT_ONCE * SHARE) {
      var loaded_x: array<T, AT_ONCE>;
      var loaded_dy: array<T, AT_ONCE>;
      var loaded_y: array<T, AT_ONCE>;
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        let at = first + select(min(r + q * SHARE, count - 1u), r, q == 0u) * params.channels4;
        loaded_x[q] = x[at];
        loaded_dy[q] = dy[at];
        if (MASK_FROM_Y) { loaded_y[q] = y[at]; }
      }
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        if (q == 0u || r + q * SHARE < count) {
          let value = vec4f(loaded_x[q]);
          var kept = loaded_dy[q];
          if (MASK) { kept = select(T(), kept, fma(value, a, b) > vec4f()); }
          if (MASK_FROM_Y) { kept = select(T(), kept, loaded_y[q] > T()); }
          if (KEEP) { masked[first + (r + q * SHARE) * params.channels4] = kept; }
          let g = vec4f(kept);
          sums.a += g;
          sums.b = fma(g, value - m, sums.b);
        }
      }
    }
    sums = total(sums, local);
    if (local < ITEMS && i < items) {
      let out = ((params.first_group + workgroup.y) * params.strips + params.first_strip + s) * 2u * params.channels4 + c;
      partial[out] = sums.a;
      partial[out + params.channels4] = sums.b;
    }
  }
}
