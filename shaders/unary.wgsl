// unary.wgsl: elementwise function of one tensor.
// x, y: count4 vec4s, the last one padded.
//   y = f(x), where OPERATION chooses f
//   0: a·x + b (a = 1, b = 0 converts between f32 and f16)    1: max(x, 0)    2: x²    3: √x    4: exp x    5: ln x    6: sin x    7: cos x
// Threads use a grid-stride loop over vec4s.

// @specialize
const WORKGROUP_SIZE = 256u;
const OPERATION = 0u;
alias In = vec4f;    // vec4h for f16 storage
alias Out = vec4f;
// @end

struct Params { count4: u32, a: f32, b: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read_write> y: array<Out>;

// @snippet store = f32
fn stored(v: vec4f) -> vec4f { return v; }
// @end
/* @snippet store = f16
// Overflow becomes +∞, written as bits: WGSL does not define the result of such a conversion.
fn stored(v: vec4f) -> vec4h {
  let infinity = vec2u(0x7c007c00u);
  return select(vec4h(v), bitcast<vec4h>(infinity), (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x477fe000u));
}
@end */

// v less whole turns: WGSL states the error of sin and cos from -pi to pi only.
fn turned(v: vec4f) -> vec4f {
  return fma(vec4f(-6.28318530718), round(v * 0.15915494309), v);
}

fn apply(v: vec4f) -> vec4f {
  switch (OPERATION) {
    case 1u: { return max(v, vec4f()); }
    case 2u: { return v * v; }
    case 3u: { return sqrt(v); }
    case 4u: { return exp(v); }
    case 5u: { return log(v); }
    case 6u: { return sin(turned(v)); }
    case 7u: { return cos(turned(v)); }
    default: { return fma(v, vec4f(params.a), vec4f(params.b)); }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count4; i += workgroups.x * WORKGROUP_SIZE) { y[i] = stored(apply(vec4f(x[i]))); }
}
