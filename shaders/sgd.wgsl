// sgd.wgsl: one step of stochastic gradient descent with momentum, in place.
// parameters (p), buffer (b), gradients (g): count4 vec4s; rate, factor: [1].
//   g ← g + decay · p;   b ← momentum · b + g;   p ← p − rate · (b, or with NESTEROV g + momentum · b)
// With SCALED, g starts as factor · gradients; factor = 0 skips the step. Threads use a grid-stride loop over vec4s.

// @specialize
const WORKGROUP_SIZE = 64u;
const NESTEROV = false;
const SCALED = false;
// @end

struct Params { count4: u32, momentum: f32, decay: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(2) var<storage, read> rate: array<f32>;
@group(0) @binding(3) var<storage, read> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> parameters: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> buffer: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  if (SCALED && factor[0] == 0.0) { return; }
  for (var i = id.x; i < params.count4; i += workgroups.x * WORKGROUP_SIZE) {
    let p = parameters[i];
    var g = gradients[i];
    if (SCALED) { g *= factor[0]; }
    g = fma(vec4f(params.decay), p, g);
    let b = fma(vec4f(params.momentum), buffer[i], g);
    buffer[i] = b;
    var direction = b;
    if (NESTEROV) { direction = fma(vec4f(params.momentum), b, g); }
    parameters[i] = p - rate[0] * direction;
  }
}
