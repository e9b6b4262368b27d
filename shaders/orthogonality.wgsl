// orthogonality.wgsl: squared distance of square matrices, times a unit, from goal · I, with weights, and its gradient.
// c, dc: [batch, size, size], with `count` rows in total; result: rows [count], or dc; g: [1]; v = unit · c.
//   rows[z, k] = on · (v[z, k, k] − goal)² + off · Σ_{l≠k} v[z, k, l]²          (their sum is the loss)
//   with GRADIENT: dc[z, k, l] = g · unit · (2 · on · (v[z, k, k] − goal) for k = l, else 2 · off · v[z, k, l])
// SHARE threads handle one row: each takes every SHARE-th column. With GRADIENT one thread handles one element.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;        // threads that share a row, a power of 2; with more than 1, `share` is 'shared'
const GRADIENT = false;
// @end

struct Params { count: u32, size: u32, on: f32, off: f32, goal: f32, unit: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> c: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;   // rows, or dc

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
  if (GRADIENT) {
    for (var i = workgroup.x * WORKGROUP_SIZE + local; i < params.count * params.size; i += workgroups.x * WORKGROUP_SIZE) {
      let diagonal = i / params.size % params.size == i % params.size;
      let value = params.unit * c[i];
      result[i] = g[0] * params.unit * 2.0 * select(params.off * value, params.on * (value - params.goal), diagonal);
    }
  } else {
    for (var first = workgroup.x * ROWS; first < params.count; first += workgroups.x * ROWS) {
      let k = first + local / SHARE;
      let size = select(0u, params.size, k < params.count);
      var sum = 0.0;
      for (var l = local % SHARE; l < size; l += SHARE) {
        let value = params.unit * c[k * params.size + l];
        if (l == k % params.size) { sum += params.on * (value - params.goal) * (value - params.goal); } else { sum += params.off * value * value; }
      }
      sum = total(sum, local);
      if (local % SHARE == 0u && size > 0u) { result[k] = sum; }
    }
  }
}
