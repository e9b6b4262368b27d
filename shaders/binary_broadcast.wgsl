// binary_broadcast.wgsl: elementwise function of two tensors with NumPy broadcasting, up to four dimensions.
// y: [s0, s1, s2, s3], row-major; a and b are read with the strides a0 … a3 and b0 … b3. Stride 0 repeats an operand
// along that dimension.
//   y = f(a, b), where OPERATION chooses f
//   0: a + b    1: a − b    2: a · b    3: a / b    4: a (broadcast only)
//   5: a where b > 0, else 0    6: (p·a + q) · b
// Threads use a grid-stride loop over elements.

// @specialize
const WORKGROUP_SIZE = 256u;
const OPERATION = 0u;
// @end

struct Params {
  count: u32, s1: u32, s2: u32, s3: u32,
  a0: u32, a1: u32, a2: u32, a3: u32,
  b0: u32, b1: u32, b2: u32, b3: u32,
  p: f32, q: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn apply(v: f32, w: f32) -> f32 {
  switch (OPERATION) {
    case 1u: { return v - w; }
    case 2u: { return v * w; }
    case 3u: { return v / w; }
    case 4u: { return v; }
    case 5u: { return select(0.0, v, w > 0.0); }
    case 6u: { return fma(v, params.p, params.q) * w; }
    default: { return v + w; }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count; i += workgroups.x * WORKGROUP_SIZE) {
    let i3 = i % params.s3;
    let i2 = i / params.s3 % params.s2;
    let i1 = i / params.s3 / params.s2 % params.s1;
    let i0 = i / params.s3 / params.s2 / params.s1;
    let v = a[i0 * params.a0 + i1 * params.a1 + i2 * params.a2 + i3 * params.a3];
    let w = b[i0 * params.b0 + i1 * params.b1 + i2 * params.b2 + i3 * params.b3];
    y[i] = apply(v, w);
  }
}
