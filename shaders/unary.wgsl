// unary.wgsl: y[i] = f(x[i]) for f chosen by OPERATION, on vec4s.
//
//   0: a·x + b    1: max(x, 0)    2: x²    3: √x    4: exp x    5: ln x
//
// count4: number of vec4s, the last one padded. One invocation: vec4s a grid apart.

// @specialize
const WORKGROUP_SIZE = 256u;
const OPERATION = 0u;
// @end

struct Params { count4: u32, a: f32, b: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

fn apply(v: vec4f) -> vec4f {
  switch (OPERATION) {
    case 1u: { return max(v, vec4f()); }
    case 2u: { return v * v; }
    case 3u: { return sqrt(v); }
    case 4u: { return exp(v); }
    case 5u: { return log(v); }
    default: { return fma(v, vec4f(params.a), vec4f(params.b)); }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count4; i += workgroups.x * WORKGROUP_SIZE) { y[i] = apply(x[i]); }
}
