// transpose4.wgsl: transposes the last two dimensions in blocks of 4×4.
// x: [batch, rows, columns], y: [batch, columns, rows], row-major; rows and columns are multiples of 4.
//   y[b, c, r] = x[b, r, c]
// A thread transposes one block at a time, with four loads and four stores.

// @specialize
const WORKGROUP_SIZE = 64u;
alias T = vec4f;    // vec4h for f16 storage
// @end

struct Params { count16: u32, rows4: u32, columns4: u32 }   // all blocks, and blocks along each dimension
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<T>;
@group(0) @binding(2) var<storage, read_write> y: array<T>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var k = id.x; k < params.count16; k += workgroups.x * WORKGROUP_SIZE) {
    let c = k % params.columns4;
    let r = k / params.columns4 % params.rows4;
    let b = k / params.columns4 / params.rows4 * 4u * params.rows4 * params.columns4;
    let source = b + r * 4u * params.columns4 + c;
    let m = array<T, 4>(x[source], x[source + params.columns4], x[source + 2u * params.columns4], x[source + 3u * params.columns4]);
    let destination = b + c * 4u * params.rows4 + r;
    for (var i = 0u; i < 4u; i++) { y[destination + i * params.rows4] = T(m[0][i], m[1][i], m[2][i], m[3][i]); }
  }
}
