// transpose.wgsl: transposes the last two dimensions.
// x: [batch, rows, columns], y: [batch, columns, rows], row-major.
//   y[b, c, r] = x[b, r, c]
// Threads use a grid-stride loop over the elements of y.

// @specialize
const WORKGROUP_SIZE = 256u;
alias T = f32;    // f16 for f16 storage
// @end

struct Params { count: u32, rows: u32, columns: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<T>;
@group(0) @binding(2) var<storage, read_write> y: array<T>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count; i += workgroups.x * WORKGROUP_SIZE) {
    let r = i % params.rows;
    let c = i / params.rows % params.columns;
    let b = i / params.rows / params.columns;
    y[i] = x[(b * params.rows + r) * params.columns + c];
  }
}
