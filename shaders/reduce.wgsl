// reduce.wgsl: sum along one dimension, in splits, of a tensor, its squares or its products with another.
// x: [outer, length, inner], y: [splits, outer, inner], row-major; w: the second tensor, which may repeat.
//   y[s, o, i] = factor · Σ over r of split s of term(x[o, r, i]), where TERM chooses
//   0: x    1: (x − minus)²    2: x · w[o · w_outer + r · w_length + i % w_inner]
// A long sum is cut into splits, and a second dispatch adds them in order (outer = 1, length = splits). first_split is the
// first split of this dispatch in y. Threads use a grid-stride loop over the elements of y.

// @specialize
const WORKGROUP_SIZE = 64u;
const TERM = 0u;
alias In = f32;    // f16 for f16 storage
// @end

struct Params {
  outer: u32, length: u32, inner: u32, splits: u32, length_per_split: u32, first_split: u32, factor: f32,
  minus: f32, w_outer: u32, w_length: u32, w_inner: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> w: array<f32>;   // with TERM 2 only

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  let count = params.outer * params.inner;
  for (var k = id.x; k < count * params.splits; k += workgroups.x * WORKGROUP_SIZE) {
    let s = k / count;
    let o = k % count / params.inner;
    let i = k % params.inner;
    let begin = s * params.length_per_split;
    let end = min(begin + params.length_per_split, params.length);
    var sum = 0.0;
    for (var r = begin; r < end; r++) {
      let v = f32(x[(o * params.length + r) * params.inner + i]);
      switch (TERM) {
        case 1u: { sum += (v - params.minus) * (v - params.minus); }
        case 2u: { sum += v * w[o * params.w_outer + r * params.w_length + i % params.w_inner]; }
        default: { sum += v; }
      }
    }
    y[params.first_split * count + k] = params.factor * sum;
  }
}
