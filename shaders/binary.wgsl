// binary.wgsl: elementwise function of two tensors of equal shape.
// a, b, y: count4 vec4s. binary_broadcast.wgsl and binary_rows.wgsl take unequal shapes.
//   y = f(a, b), where OPERATION chooses f
//   0: a + b    1: a − b    2: a · b    3: a / b    5: a where b > 0, else 0 (the gradient of ReLU)    6: (p·a + q) · b
// Threads use a grid-stride loop over vec4s.

// @specialize
const WORKGROUP_SIZE = 256u;
const OPERATION = 0u;
alias T = vec4f;    // vec4h for f16 storage
// @end

struct Params { count4: u32, p: f32, q: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<T>;
@group(0) @binding(2) var<storage, read> b: array<T>;
@group(0) @binding(3) var<storage, read_write> y: array<T>;

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

fn apply(v: vec4f, w: vec4f) -> vec4f {
  switch (OPERATION) {
    case 1u: { return v - w; }
    case 2u: { return v * w; }
    case 3u: { return v / w; }
    case 5u: { return select(vec4f(), v, w > vec4f()); }
    case 6u: { return fma(v, vec4f(params.p), vec4f(params.q)) * w; }
    default: { return v + w; }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count4; i += workgroups.x * WORKGROUP_SIZE) {
    y[i] = stored(apply(vec4f(a[i]), vec4f(b[i])));
  }
}
