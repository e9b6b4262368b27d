// binary_rows.wgsl: elementwise function of two tensors with NumPy broadcasting, for rows of whole vec4s.
// y: [rows, columns4] vec4s, row-major, with row index r = (r0 · s1 + r1) · s2 + r2. A row of an operand starts at number
// r0 · stride0 + r1 · stride1 + r2 · stride2; stride 0 repeats it. With A_REPEATS or B_REPEATS the operand has one number
// a row, else a vec4 for each vec4 of y. binary_broadcast.wgsl takes other rows.
//   y = f(a, b), where OPERATION chooses f
//   0: a + b    1: a − b    2: a · b    3: a / b    4: a (broadcast only)
//   5: a where b > 0, else 0    6: (p·a + q) · b
// One workgroup handles WORKGROUP_SIZE vec4s of a row at a time, with a grid-stride loop over rows and columns.

// @specialize
const WORKGROUP_SIZE = 64u;
const OPERATION = 0u;
const A_REPEATS = false;
const B_REPEATS = false;
// @end

struct Params {
  rows: u32, columns4: u32, s1: u32, s2: u32,
  a0: u32, a1: u32, a2: u32,
  b0: u32, b1: u32, b2: u32,
  p: f32, q: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

fn apply(v: vec4f, w: vec4f) -> vec4f {
  switch (OPERATION) {
    case 1u: { return v - w; }
    case 2u: { return v * w; }
    case 3u: { return v / w; }
    case 4u: { return v; }
    case 5u: { return select(vec4f(), v, w > vec4f()); }
    case 6u: { return fma(v, vec4f(params.p), vec4f(params.q)) * w; }
    default: { return v + w; }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  for (var r = workgroup.y; r < params.rows; r += workgroups.y) {
    let r2 = r % params.s2;
    let r1 = r / params.s2 % params.s1;
    let r0 = r / params.s2 / params.s1;
    let from_a = r0 * params.a0 + r1 * params.a1 + r2 * params.a2;
    let from_b = r0 * params.b0 + r1 * params.b1 + r2 * params.b2;
    var v: vec4f;
    var w: vec4f;
    if (A_REPEATS) { v = vec4f(a[from_a / 4u][from_a % 4u]); }
    if (B_REPEATS) { w = vec4f(b[from_b / 4u][from_b % 4u]); }
    for (var c = workgroup.x * WORKGROUP_SIZE + lane; c < params.columns4; c += workgroups.x * WORKGROUP_SIZE) {
      if (!A_REPEATS) { v = a[from_a / 4u + c]; }
      if (!B_REPEATS) { w = b[from_b / 4u + c]; }
      y[r * params.columns4 + c] = apply(v, w);
    }
  }
}
