// reduce_rows.wgsl: sum of each row, in splits, by one workgroup for each.
// x: [rows, length], y: [splits, rows], row-major; w: the second tensor, whose rows may repeat.
//   y[s, r] = factor · Σ over c of split s of term(x[r, c]), where TERM chooses
//   0: x    1: (x − minus)²    2: x · w[r · w_outer + c · w_length]
// A thread takes every WORKGROUP_SIZE-th number of a split, and loads AT_ONCE of them before it adds the first. The sums
// of the threads are added in pairs, so that the order is fixed. A second dispatch adds the splits (rows = 1).

// @specialize
const WORKGROUP_SIZE = 256u;   // a power of 2
const AT_ONCE = 4u;
const TERM = 0u;
alias In = f32;    // f16 for f16 storage
// @end

struct Params {
  rows: u32, length: u32, splits: u32, length_per_split: u32, first_split: u32, factor: f32,
  minus: f32, w_outer: u32, w_length: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> w: array<f32>;   // with TERM 2 only

var<workgroup> terms: array<f32, WORKGROUP_SIZE>;

// What x[r, c] adds to the sum.
fn term(r: u32, c: u32) -> f32 {
  let v = f32(x[r * params.length + c]);
  switch (TERM) {
    case 1u: { return (v - params.minus) * (v - params.minus); }
    case 2u: { return v * w[r * params.w_outer + c * params.w_length]; }
    default: { return v; }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  for (var k = workgroup.x; k < params.rows * params.splits; k += workgroups.x) {
    let begin = k / params.rows * params.length_per_split;
    let end = min(begin + params.length_per_split, params.length);
    let row = k % params.rows;
    var sum = 0.0;
    for (var c = begin + local; c < end; c += AT_ONCE * WORKGROUP_SIZE) {
      var loaded: array<f32, AT_ONCE>;
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        loaded[q] = term(row, min(c + q * WORKGROUP_SIZE, end - 1u));
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
