// reduce_rows.wgsl: sum of each row, in splits, by one workgroup for each.
// x: [rows, length], y: [splits, rows], row-major.
//   y[s, r] = factor · Σ over c of split s of x[r, c]
// A thread takes every WORKGROUP_SIZE-th number of a split, and loads AT_ONCE of them before it adds the first. The sums
// of the threads are added in pairs, so that the order is fixed. A second dispatch adds the splits (rows = 1).

// @specialize
const WORKGROUP_SIZE = 256u;   // a power of 2
const AT_ONCE = 4u;
alias In = f32;    // f16 for f16 storage
// @end

struct Params { rows: u32, length: u32, splits: u32, length_per_split: u32, first_split: u32, factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> terms: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  for (var k = workgroup.x; k < params.rows * params.splits; k += workgroups.x) {
    let begin = k / params.rows * params.length_per_split;
    let end = min(begin + params.length_per_split, params.length);
    let row = k % params.rows * params.length;
    var sum = 0.0;
    for (var c = begin + local; c < end; c += AT_ONCE * WORKGROUP_SIZE) {
      var loaded: array<f32, AT_ONCE>;
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        loaded[q] = f32(x[row + min(c + q * WORKGROUP_SIZE, end - 1u)]);
      }
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        if (c + q * WORKGROUP_SIZE < end) { sum += loaded[q]; }
      }
    }
    terms[local] = sum;
    workgroupBarrier();
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
      if (local < half) { terms[local] += terms[local + half]; }
      workgroupBarrier();
    }
    if (local == 0u) { y[params.first_split * params.rows + k] = params.factor * terms[0]; }
    workgroupBarrier();
  }
}
