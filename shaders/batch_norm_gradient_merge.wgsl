// batch_norm_gradient_merge.wgsl: combines the sums of the batch-norm gradient and prepares its second pass.
//
// partial: [groups, strips, 2, C]; mean, variance, gain: [groups, C]; line: [groups, 2, C];
// d_scale, d_shift: [C]; C is a multiple of 4.
//
//   r = 1 / √(variance + epsilon)
//   d_scale[c] = Σ_groups r · Σ g (x − mean),   d_shift[c] = Σ_groups Σ g
//   dx = gain · g − gain · Σg / n − (x − mean) · gain · r² · Σ g (x − mean) / (n − correction)
//      = gain · g + slope · x + constant,   where line holds slope[g, c] and constant[g, c]
//
// SHARE threads handle one vec4 of channels of all groups, in order. Each adds every SHARE-th strip, and their sums are
// then added in order.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;      // a power of 2; with more than 1, `total` is 'shared'
const AT_ONCE = 1u;    // strips that a thread loads before it adds the first
// @end

struct Params { groups: u32, rows: u32, channels4: u32, strips: u32, epsilon: f32, correction: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4f>;
@group(0) @binding(2) var<storage, read> mean: array<vec4f>;
@group(0) @binding(3) var<storage, read> variance: array<vec4f>;
@group(0) @binding(4) var<storage, read> gain: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> line: array<vec4f>;   // [groups, 2, C]: slope, constant
@group(0) @binding(6) var<storage, read_write> d_scale: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> d_shift: array<vec4f>;

const ITEMS = WORKGROUP_SIZE / SHARE;   // an item is one vec4 of channels

struct Sums { a: vec4f, b: vec4f }

// The sums of an item from those of the threads that share it. The result is valid in the first of these threads.
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
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let c = workgroup.x * ITEMS + local % ITEMS;
  let strips = select(0u, params.strips, c < params.channels4);
  var scale_sum = vec4f();
  var shift_sum = vec4f();
  for (var g = 0u; g < params.groups; g++) {
    var sums = Sums();
    for (var s = local / ITEMS; s < strips; s += AT_ONCE * SHARE) {
      var loaded: array<Sums, AT_ONCE>;
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        let at = (g * params.strips + select(min(s + q * SHARE, strips - 1u), s, q == 0u)) * 2u * params.channels4 + c;
        loaded[q] = Sums(partial[at], partial[at + params.channels4]);
      }
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        if (q == 0u || s + q * SHARE < strips) {
          sums.a += loaded[q].a;
          sums.b += loaded[q].b;
        }
      }
    }
    sums = total(sums, local);
    if (local < ITEMS && c < params.channels4) {
      let k = g * params.channels4 + c;
      let r = 1.0 / sqrt(variance[k] + params.epsilon);
      scale_sum += r * sums.b;
      shift_sum += sums.a;
      let slope = -gain[k] * r * r * sums.b / (f32(params.rows) - params.correction);
      line[2u * g * params.channels4 + c] = slope;
      line[(2u * g + 1u) * params.channels4 + c] = -gain[k] * sums.a / f32(params.rows) - slope * mean[k];
    }
  }
  if (local < ITEMS && c < params.channels4) {
    d_scale[c] = scale_sum;
    d_shift[c] = shift_sum;
  }
}
