// cross_entropy.wgsl: softmax cross-entropy with label smoothing, and its gradient in the logits.
// logits, dlogits: [rows, columns], where only the first `classes` columns count and the rest is padding;
// labels, g, loss: [rows].
//   target[r, c] = (1 − smoothing) · [c = label[r]] + smoothing / classes
//   loss[r] = −Σ_c target[r, c] · log softmax(logits[r, :])[c]
//   with GRADIENT: dlogits[r, c] = g[r] · (softmax(logits[r, :])[c] − target[r, c]), 0 in the padding
// A label that is not a class (for example 0xffffffff) masks its row: loss and gradient are 0. SHARE threads handle one
// row: each takes every SHARE-th column.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;        // threads that share a row, a power of 2; with more than 1, `share` is 'shared'
const GRADIENT = false;
// @end

struct Params { rows: u32, columns: u32, classes: u32, smoothing: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;   // loss, or dlogits

const ROWS = WORKGROUP_SIZE / SHARE;   // rows of a workgroup at a time

// Combines what the threads of a row have, in order. All of them get the result.
// @snippet share = alone
fn total(value: f32, local: u32) -> f32 { return value; }
fn largest(value: f32, local: u32) -> f32 { return value; }
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
fn largest(value: f32, local: u32) -> f32 {
  terms[local] = value;
  workgroupBarrier();
  let first = local - local % SHARE;
  var most = terms[first];
  for (var other = first + 1u; other < first + SHARE; other++) { most = max(most, terms[other]); }
  workgroupBarrier();
  return most;
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
    let inside = first + local / SHARE < params.rows;
    let r = min(first + local / SHARE, params.rows - 1u);
    let classes = select(0u, params.classes, inside);
    let at = r * params.columns;
    let label = labels[r];
    let masked = label >= params.classes;
    var most = logits[at];
    for (var c = lane; c < classes; c += SHARE) { most = max(most, logits[at + c]); }
    most = largest(most, local);
    var exponentials = 0.0;
    var sum = 0.0;
    for (var c = lane; c < classes; c += SHARE) {
      exponentials += exp(logits[at + c] - most);
      sum += logits[at + c] - most;
    }
    exponentials = total(exponentials, local);
    sum = total(sum, local);
    let uniform_share = params.smoothing / f32(params.classes);
    if (GRADIENT) {
      let weight = select(g[r], 0.0, masked);
      for (var c = lane; c < classes; c += SHARE) {
        let goal = uniform_share + select(0.0, 1.0 - params.smoothing, c == label);
        result[at + c] = weight * (exp(logits[at + c] - most) / exponentials - goal);
      }
      if (inside) {
        for (var c = params.classes + lane; c < params.columns; c += SHARE) { result[at + c] = 0.0; }
      }
    } else if (lane == 0u && inside) {
      let loss = log(exponentials) - (1.0 - params.smoothing) * (logits[at + min(label, params.classes - 1u)] - most) - uniform_share * sum;
      result[r] = select(loss, 0.0, masked);
    }
  }
}
