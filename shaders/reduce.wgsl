// reduce.wgsl: sum along one dimension, in splits.
// x: [outer, length, inner], y: [splits, outer, inner], row-major.
//   y[s, o, i] = factor · Σ over r of split s of x[o, r, i]
// A long sum is cut into splits, and a second dispatch adds them in order (outer = 1, length = splits). first_split is the
// first split of this dispatch in y. Threads use a grid-stride loop over the elements of y.

// @specialize
const WORKGROUP_SIZE = 64u;
alias In = f32;    // f16 for f16 storage
// @end

struct Params { outer: u32, length: u32, inner: u32, splits: u32, length_per_split: u32, first_split: u32, factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

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
    for (var r = begin; r < end; r++) { sum += f32(x[(o * params.length + r) * params.inner + i]); }
    y[params.first_split * count + k] = params.factor * sum;
  }
}
