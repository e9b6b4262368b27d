// normalize_rows.wgsl: L2 normalisation of rows, and its gradient.
// x, y, g, dx: [rows, columns]; reciprocal: [rows].
//   reciprocal[r] = 1 / max(‖x[r, :]‖₂, epsilon),   y[r, :] = reciprocal[r] · x[r, :]
//   with GRADIENT: dx[r, :] = s · (g − y (y·g)), or s · g where the norm is at most epsilon;   s = reciprocal[r]
// One thread handles one row.

// @specialize
const WORKGROUP_SIZE = 64u;
const GRADIENT = false;
// @end

struct Params { rows: u32, columns: u32, epsilon: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // with GRADIENT: y
@group(0) @binding(2) var<storage, read> g: array<f32>;         // with GRADIENT only
@group(0) @binding(3) var<storage, read> given: array<f32>;     // with GRADIENT only: the reciprocal
@group(0) @binding(4) var<storage, read_write> y: array<f32>;   // with GRADIENT: dx
@group(0) @binding(5) var<storage, read_write> reciprocal: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var r = id.x; r < params.rows; r += workgroups.x * WORKGROUP_SIZE) {
    let at = r * params.columns;
    if (GRADIENT) {
      let s = given[r];
      var dot = 0.0;
      for (var c = 0u; c < params.columns; c++) { dot = fma(x[at + c], g[at + c], dot); }
      if (s * params.epsilon >= 1.0) { dot = 0.0; }
      for (var c = 0u; c < params.columns; c++) { y[at + c] = s * (g[at + c] - x[at + c] * dot); }
    } else {
      var square = 0.0;
      for (var c = 0u; c < params.columns; c++) { square = fma(x[at + c], x[at + c], square); }
      let s = 1.0 / max(sqrt(square), params.epsilon);
      for (var c = 0u; c < params.columns; c++) { y[at + c] = s * x[at + c]; }
      reciprocal[r] = s;
    }
  }
}
