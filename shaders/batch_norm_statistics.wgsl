// batch_norm_statistics.wgsl: mean and squared deviation of strips of rows, for batch-norm and standardising.
// x: [groups, rows, C] (rows = images × pixels); partial: [groups, strips, 2, C]; C is a multiple of 4.
//   partial[g, s, 0, c] = mean, partial[g, s, 1, c] = Σ (x − mean)²  over the rows of strip s of group g
// Deviations are taken from the first row of the strip, because Σx² − n·mean² cancels. batch_norm_merge.wgsl combines
// the strips in a fixed order. SHARE threads handle one vec4 of channels of one strip: each takes every SHARE-th row, and
// their sums are added in order. A thread loads AT_ONCE rows before it uses the first.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;      // a power of 2; with more than 1, `total` is 'shared'
const AT_ONCE = 1u;
alias T = vec4f;       // vec4h for f16 storage
// @end

// rows: rows of a group in this dispatch; strips: strips of the whole group; workgroup.y counts groups from first_group.
struct Params { rows: u32, channels4: u32, strip: u32, strips: u32, first_strip: u32, first_group: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<T>;
@group(0) @binding(2) var<storage, read_write> partial: array<vec4f>;

const ITEMS = WORKGROUP_SIZE / SHARE;   // an item is one vec4 of channels of one strip

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
  for (var first = workgroup.x * ITEMS; first < items; first += workgroups.x * ITEMS) {
    let inside = first + local % ITEMS < items;
    let i = min(first + local % ITEMS, items - 1u);
    let c = i % params.channels4;
    let s = i / params.channels4;
    let begin = s * params.strip;
    let count = select(0u, min(params.strip, params.rows - begin), inside);
    let at = (workgroup.y * params.rows + begin) * params.channels4 + c;
    let origin = vec4f(x[at]);
    var sums = Sums();
    // The deviation of the first row is 0, so a thread on its own begins with the second.
    for (var r = select(local / ITEMS, 1u, SHARE == 1u); r < count; r += AT_ONCE * SHARE) {
      var loaded: array<T, AT_ONCE>;
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        loaded[q] = x[at + select(min(r + q * SHARE, count - 1u), r, q == 0u) * params.channels4];
      }
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        if (q == 0u || r + q * SHARE < count) {
          let d = vec4f(loaded[q]) - origin;
          sums.a += d;
          sums.b = fma(d, d, sums.b);
        }
      }
    }
    sums = total(sums, local);
    if (local < ITEMS && inside) {
      let mean = sums.a / f32(count);
      let out = ((params.first_group + workgroup.y) * params.strips + params.first_strip + s) * 2u * params.channels4 + c;
      partial[out] = origin + mean;
      partial[out + params.channels4] = max(sums.b - sums.a * mean, vec4f());
    }
  }
}
