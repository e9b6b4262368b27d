// pad.wgsl: crops or zero-pads the last two dimensions.
// x: [batch, in_rows, in_columns], y: [batch, out_rows, out_columns], row-major.
//   y[b, r, c] = x[b, r, c] where it exists, else 0
// Threads use a grid-stride loop over the elements of y.

// @specialize
const WORKGROUP_SIZE = 256u;
alias T = f32;    // f16 for f16 storage
// @end

struct Params { count: u32, in_rows: u32, in_columns: u32, out_rows: u32, out_columns: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<T>;
@group(0) @binding(2) var<storage, read_write> y: array<T>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count; i += workgroups.x * WORKGROUP_SIZE) {
    let c = i % params.out_columns;
    let r = i / params.out_columns % params.out_rows;
    let b = i / params.out_columns / params.out_rows;
    var value = T();
    if (r < params.in_rows && c < params.in_columns) { value = x[(b * params.in_rows + r) * params.in_columns + c]; }
    y[i] = value;
  }
}
