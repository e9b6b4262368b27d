// lars.wgsl: one step of LARS (You et al. 2017), in place, with the trust ratio of each tensor.
//
// parameters (p), buffer (v), gradients (g): tensors side by side, each aligned to 256 bytes; the bindings start at vec4
// `base4`.
// segments: [S, 3] = (first vec4, count of numbers, index of the tensor); trust: [T]; rate, factor: [1].
// tensors: [T, 3] = (first segment, count of segments, 1 if adapted or 0 if exempt).
//
//   v ← momentum · v + trust · (g + decay · p);   p ← p − rate · v
//
// An exempt tensor has no decay. With SCALED, g is factor · gradients; factor = 0 skips the step.
// One workgroup handles one segment, from `first` on.

// @specialize
const WORKGROUP_SIZE = 64u;
const SCALED = false;
// @end

struct Params { first: u32, base4: u32, momentum: f32, decay: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(2) var<storage, read> segments: array<array<u32, 3>>;
@group(0) @binding(3) var<storage, read> tensors: array<array<u32, 3>>;
@group(0) @binding(4) var<storage, read> trust: array<f32>;
@group(0) @binding(5) var<storage, read> rate: array<f32>;
@group(0) @binding(6) var<storage, read> factor: array<f32>;
@group(0) @binding(7) var<storage, read_write> parameters: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> buffer: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) lane: u32) {
  if (SCALED && factor[0] == 0.0) { return; }
  let s = params.first + workgroup.x;
  let at = segments[s][0] - params.base4;
  let tensor = segments[s][2];
  let decay = select(0.0, params.decay, tensors[tensor][2] == 1u);
  for (var i = lane; 4u * i < segments[s][1]; i += WORKGROUP_SIZE) {
    let p = parameters[at + i];
    var g = gradients[at + i];
    if (SCALED) { g *= factor[0]; }
    let v = fma(vec4f(params.momentum), buffer[at + i], trust[tensor] * fma(vec4f(decay), p, g));
    buffer[at + i] = v;
    parameters[at + i] = p - rate[0] * v;
  }
}
