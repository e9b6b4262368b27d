// adam.wgsl: one step of Adam (Kingma & Ba 2015) or, with DECOUPLED, AdamW (Loshchilov & Hutter 2019), in place.
// parameters (p), m, v, gradients (g): count4 vec4s; rate, step (t, counted from 1), factor: [1].
//   g ← g + decay · p  (Adam: L2 in the gradient);   p ← p − rate · decay · p  (AdamW)
//   m ← β₁ m + (1 − β₁) g;   v ← β₂ v + (1 − β₂) g²
//   p ← p − rate · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + epsilon)
// With SCALED, g starts as factor · gradients; factor = 0 skips the step. Threads use a grid-stride loop over vec4s.

// @specialize
const WORKGROUP_SIZE = 64u;
const DECOUPLED = false;
const SCALED = false;
// @end

// rest = 1 − β and log_beta = ln β come from f64, because they cancel in f32.
struct Params {
  count4: u32, beta1: f32, beta2: f32, rest1: f32, rest2: f32, log_beta1: f32, log_beta2: f32, epsilon: f32, decay: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(2) var<storage, read> rate: array<f32>;
@group(0) @binding(3) var<storage, read> step: array<f32>;
@group(0) @binding(4) var<storage, read> factor: array<f32>;
@group(0) @binding(5) var<storage, read_write> parameters: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> v: array<vec4f>;

// 1 − eˣ for x ≤ 0, without cancellation near 0.
fn one_minus_exp(x: f32) -> f32 {
  if (x > -0.5) {
    return -x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0 * (1.0 + x / 6.0 * (1.0 + x / 7.0 * (1.0 + x / 8.0)))))));
  }
  return 1.0 - exp(x);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  if (SCALED && factor[0] == 0.0) { return; }
  let correction1 = one_minus_exp(step[0] * params.log_beta1);
  let correction2 = one_minus_exp(step[0] * params.log_beta2);
  for (var i = id.x; i < params.count4; i += workgroups.x * WORKGROUP_SIZE) {
    var p = parameters[i];
    var g = gradients[i];
    if (SCALED) { g *= factor[0]; }
    if (DECOUPLED) { p -= rate[0] * params.decay * p; } else { g = fma(vec4f(params.decay), p, g); }
    let first = fma(vec4f(params.beta1), m[i], params.rest1 * g);
    let second = fma(vec4f(params.beta2), v[i], params.rest2 * g * g);
    m[i] = first;
    v[i] = second;
    parameters[i] = p - rate[0] * (first / correction1) / (sqrt(second / correction2) + params.epsilon);
  }
}
