// normalize_rows.wgsl: L2 normalisation of rows, and its gradient.
// x, y, g, dx: [rows, columns]; reciprocal: [rows].
//   reciprocal[r] = 1 / max(‖x[r, :]‖₂, epsilon),   y[r, :] = reciprocal[r] · x[r, :]
//   with GRADIENT: dx[r, :] = s · (g − y (y·g)), or s · g where the norm is at most epsilon;   s = reciprocal[r]
// SHARE threads handle one row: each takes every SHARE-th column.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;        // threads that share a row, a power of 2; with more than 1, `share` is 'shared'
const GRADIENT = false;
// @end

struct Params { rows: u32, columns: u32, epsilon: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // with GRADIENT: y
@group(0) @binding(2) var<storage, read> g: array<f32>;         // with GRADIENT only
@group(0) @binding(3) var<storage, read> given: array<f32>;     // with GRADIENT only: the reciprocal
@group(0) @binding(4) var<storage, read_write> y: array<f32>;   // with GRADIENT: dx
@group(0) @binding(5) var<storage, read_write> reciprocal: array<f32>;

const ROWS = WORKGROUP_SIZE / SHARE;   // rows of a workgroup at a time

// Combines what the threads of a row have, in order. All of them get the result.
// @snippet share = alone
fn total(value: f32, local: u32) -> f32 { return value; }
// @end
/* @snippet share = shared
var<workgroup> terms: array<f32, WORKGROUP_SIZE>;
fn total(value: f32, local: u32) -> f32 {
  terms[local] = value;
  workgroupBarrier();
  let first = local - local % SHARE;
  var sum = terms[first];
  for (var other = first + 1u; other < first + SHARE; other++) { sum += terms[other]; }
  workgroupBarrier();
  return sum;
}
@end */

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let lane = local % SHARE;
  for (var first = workgroup.x * ROWS; first < params.rows; first += workgroups.x * ROWS) {
    let r = first + local / SHARE;
    let columns = select(0u, params.columns, r < params.rows);
    let at = r * params.columns;
    if (GRADIENT) {
      let s = given[min(r, params.rows - 1u)];
      var dot = 0.0;
      for (var c = lane; c < columns; c += SHARE) { dot = fma(x[at + c], g[at + c], dot); }
      dot = total(dot, local);
      // A short row has s = 1 / epsilon, up to the error of a division.
      if (s * params.epsilon > 0.99999) { dot = 0.0; }
      for (var c = lane; c < columns; c += SHARE) { y[at + c] = s * (g[at + c] - x[at + c] * dot); }
    } else {
      var square = 0.0;
      for (var c = lane; c < columns; c += SHARE) { square = fma(x[at + c], x[at + c], square); }
      let s = 1.0 / max(sqrt(total(square, local)), params.epsilon);
      for (var c = lane; c < columns; c += SHARE) { y[at + c] = s * x[at + c]; }
      if (lane == 0u && columns > 0u) { reciprocal[r] = s; }
    }
  }
}
