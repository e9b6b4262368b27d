// nt_xent.wgsl: softmax cross-entropy of each row against its partner, without its own column, and its gradient.
// s, ds: [batch, size, size], with `count` rows in total; g: [count]; result: loss [count], or ds.
//   loss[z, r] = log Σ_{c≠r} exp s[z, r, c] − s[z, r, p],   p = (r + size / 2) mod size
//   with GRADIENT: ds[z, r, c] = g[z, r] · (exp s[z, r, c] / Σ_{c'≠r} exp s[z, r, c'] − [c = p]) for c ≠ r, else 0
// SHARE threads handle one row: each takes every SHARE-th column.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;        // threads that share a row, a power of 2; with more than 1, `share` is 'shared'
const GRADIENT = false;
// @end

struct Params { count: u32, size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

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
  for (var first = workgroup.x * ROWS; first < params.count; first += workgroups.x * ROWS) {
    let i = min(first + local / SHARE, params.count - 1u);
    let size = select(0u, params.size, first + local / SHARE < params.count);
    let at = i * params.size;
    let own = i % params.size;
    let partner = (own + params.size / 2u) % params.size;
    var most = s[at + partner];
    for (var c = lane; c < size; c += SHARE) { if (c != own) { most = max(most, s[at + c]); } }
    most = largest(most, local);
    var sum = 0.0;
    for (var c = lane; c < size; c += SHARE) { if (c != own) { sum += exp(s[at + c] - most); } }
    sum = total(sum, local);
    if (GRADIENT) {
      for (var c = lane; c < size; c += SHARE) {
        let share = exp(s[at + c] - most) / sum - select(0.0, 1.0, c == partner);
        result[at + c] = select(g[i] * share, 0.0, c == own);
      }
    } else if (lane == 0u && size > 0u) {
      result[i] = log(sum) - (s[at + partner] - most);
    }
  }
}
