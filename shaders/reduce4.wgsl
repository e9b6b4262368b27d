// reduce4.wgsl: sum along one dimension, in splits: reduce.wgsl on vec4s.
// x: [outer, length, 4·inner4], y: [splits, outer, 4·inner4], row-major; w: the second tensor, which may repeat.
//   y[s, o, i] = factor · Σ over r of split s of term(x[o, r, i]), where TERM chooses
//   0: x    1: (x − minus)²    2: x · w[o · w_outer + r · w_length + i % w_inner], in vec4s
// SHARE threads handle one vec4 of y: each takes every SHARE-th row, and their sums are added in order. A thread loads
// AT_ONCE rows before it adds the first. A grid-stride loop runs over the vec4s of y.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;      // a power of 2; with more than 1, `total` is 'shared'
const AT_ONCE = 1u;
const TERM = 0u;
alias In = vec4f;      // vec4h for f16 storage
// @end

struct Params {
  outer: u32, length: u32, inner4: u32, splits: u32, length_per_split: u32, first_split: u32, factor: f32,
  minus: f32, w_outer: u32, w_length: u32, w_inner: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read> w: array<vec4f>;   // with TERM 2 only

const ITEMS = WORKGROUP_SIZE / SHARE;   // vec4s of y of a workgroup at a time

// The sum of an item from those of the threads that share it. The result is valid in the first of these threads.
// @snippet total = alone
fn total(sum: vec4f, local: u32) -> vec4f { return sum; }
// @end
/* @snippet total = shared
var<workgroup> sums: array<vec4f, WORKGROUP_SIZE>;
fn total(sum: vec4f, local: u32) -> vec4f {
  var result = sum;
  sums[local] = sum;
  workgroupBarrier();
  if (local < ITEMS) {
    for (var other = local + ITEMS; other < WORKGROUP_SIZE; other += ITEMS) { result += sums[other]; }
  }
  workgroupBarrier();
  return result;
}
@end */

// What x[o, r, i] adds to the sum. start: where the numbers w of o and i begin.
fn term(at: u32, r: u32, start: u32) -> vec4f {
  let v = vec4f(x[at]);
  switch (TERM) {
    case 1u: { return (v - params.minus) * (v - params.minus); }
    case 2u: { return v * w[start + r * params.w_length]; }
    default: { return v; }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let count = params.outer * params.inner4;
  let items = count * params.splits;
  for (var first = workgroup.x * ITEMS; first < items; first += workgroups.x * ITEMS) {
    let k = first + local % ITEMS;
    let s = k / count;
    let o = k % count / params.inner4;
    let i = k % params.inner4;
    let begin = s * params.length_per_split;
    let end = select(begin, min(begin + params.length_per_split, params.length), k < items);
    let start = select(0u, o * params.w_outer + i % params.w_inner, TERM == 2u);
    var sum = vec4f();
    for (var r = begin + local / ITEMS; r < end; r += AT_ONCE * SHARE) {
      var loaded: array<vec4f, AT_ONCE>;
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        let row = select(min(r + q * SHARE, end - 1u), r, q == 0u);
        loaded[q] = term((o * params.length + row) * params.inner4 + i, row, start);
      }
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        if (q == 0u || r + q * SHARE < end) { sum += loaded[q]; }
      }
    }
    sum = total(sum, local);
    if (local < ITEMS && k < items) { y[params.first_split * count + k] = params.factor * sum; }
  }
}
