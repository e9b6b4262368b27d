// spd_inverse.wgsl: inverse and log-determinant of symmetric positive definite matrices, by Gauss-Jordan elimination.
//
//   a       [count, side, side] f32
//   y       [count, side, side] f32: the inverses; it also holds the matrices during the elimination
//   logdet  [count] f32: ln det a, the sum of ln of the pivots, or NaN
//
// Step k: with the pivot p = a_kk, the row r_j = a_kj / p and the column c_i = a_ik,
//   a_ij -= c_i r_j,   a_kj = r_j,   a_ik = -c_i / p,   a_kk = 1 / p      (i, j not k)
// A positive definite matrix has positive pivots in any order, so no rows are exchanged.
// One workgroup treats one matrix. Row and column are kept in workgroup memory, so an element is read by the thread that
// writes it. A pivot that is not positive gives NaN in its logdet, written as bits: WGSL does not define ln of such a number.
// A dispatch does the steps from `begin` up to but not including `end`. The first begins with a copy of the matrix.

// @specialize
const WORKGROUP_SIZE = 256u;
const SIDE = 4u;
// @end

struct Params { count: u32, begin: u32, end: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> logdet: array<u32>;

const NOT_A_NUMBER = 0x7fc00000u;

var<workgroup> row: array<f32, SIDE>;
var<workgroup> column: array<f32, SIDE>;
var<workgroup> pivot: f32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let matrix = group.y * groups.x + group.x;
  if matrix >= params.count {
    return;
  }
  let first = matrix * SIDE * SIDE;
  var sum = 0.0;
  var positive = true;
  if params.begin == 0u {
    for (var i = lane; i < SIDE * SIDE; i += WORKGROUP_SIZE) {
      y[first + i] = a[first + i];
    }
  } else {
    sum = bitcast<f32>(logdet[matrix]);
    positive = logdet[matrix] != NOT_A_NUMBER;
  }
  for (var k = params.begin; k < params.end; k++) {
    storageBarrier();
    workgroupBarrier();
    if lane == 0u {
      pivot = y[first + k * SIDE + k];
    }
    workgroupBarrier();
    let p = pivot;
    for (var i = lane; i < SIDE; i += WORKGROUP_SIZE) {
      row[i] = y[first + k * SIDE + i] / p;
      column[i] = y[first + i * SIDE + k];
    }
    workgroupBarrier();
    positive = positive && p > 0.0;
    sum += log(select(1.0, p, positive));
    for (var i = lane; i < SIDE * SIDE; i += WORKGROUP_SIZE) {
      let r = i / SIDE;
      let c = i % SIDE;
      var value = y[first + i] - column[r] * row[c];
      if r == k {
        value = select(row[c], 1.0 / p, c == k);
      } else if c == k {
        value = -column[r] / p;
      }
      y[first + i] = value;
    }
  }
  if lane == 0u {
    logdet[matrix] = select(NOT_A_NUMBER, bitcast<u32>(sum), positive);
  }
}
