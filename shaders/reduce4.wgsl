// reduce4.wgsl: sum along one dimension, in splits: reduce.wgsl on vec4s.
// x: [outer, length, 4·inner4], y: [splits, outer, 4·inner4], row-major.
//   y[s, o, i] = factor · Σ over r of split s of x[o, r, i]
// Threads use a grid-stride loop over the vec4s of y.

// @specialize
const WORKGROUP_SIZE = 64u;
alias In = vec4f;    // vec4h for f16 storage
// @end

struct Params { outer: u32, length: u32, inner4: u32, splits: u32, length_per_split: u32, first_split: u32, factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  let count = params.outer * params.inner4;
  for (var k = id.x; k < count * params.splits; k += workgroups.x * WORKGROUP_SIZE) {
    let s = k / count;
    let o = k % count / params.inner4;
    let i = k % params.inner4;
    let begin = s * params.length_per_split;
    let end = min(begin + params.length_per_split, params.length);
    var sum = vec4f();
    for (var r = begin; r < end; r++) { sum += vec4f(x[(o * params.length + r) * params.inner4 + i]); }
    y[params.first_split * count + k] = params.factor * sum;
  }
}
