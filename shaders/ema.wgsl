// ema.wgsl: exponential moving average, in place.
// average, value: count4 vec4s; rate: [1], from 0 (copies value) to 1 (keeps average).
//   average ← rate · average + (1 − rate) · value
// Threads use a grid-stride loop over vec4s.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { count4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> value: array<vec4f>;
@group(0) @binding(2) var<storage, read> rate: array<f32>;
@group(0) @binding(3) var<storage, read_write> average: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count4; i += workgroups.x * WORKGROUP_SIZE) {
    average[i] = fma(vec4f(rate[0]), average[i], (1.0 - rate[0]) * value[i]);
  }
}
