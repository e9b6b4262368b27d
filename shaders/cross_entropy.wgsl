// cross_entropy.wgsl: softmax cross-entropy with label smoothing, and its gradient in the logits.
// logits, dlogits: [rows, columns], where only the first `classes` columns count and the rest is padding;
// labels, g, loss: [rows].
//   target[r, c] = (1 − smoothing) · [c = label[r]] + smoothing / classes
//   loss[r] = −Σ_c target[r, c] · log softmax(logits[r, :])[c]
//   with GRADIENT: dlogits[r, c] = g[r] · (softmax(logits[r, :])[c] − target[r, c]), 0 in the padding
// A label that is not a class (for example 0xffffffff) masks its row: loss and gradient are 0. One thread handles one row.

// @specialize
const WORKGROUP_SIZE = 64u;
const GRADIENT = false;
// @end

struct Params { rows: u32, columns: u32, classes: u32, smoothing: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;   // loss, or dlogits

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var r = id.x; r < params.rows; r += workgroups.x * WORKGROUP_SIZE) {
    let at = r * params.columns;
    let label = labels[r];
    let masked = label >= params.classes;
    var largest = logits[at];
    for (var c = 1u; c < params.classes; c++) { largest = max(largest, logits[at + c]); }
    var total = 0.0;
    var sum = 0.0;
    for (var c = 0u; c < params.classes; c++) {
      total += exp(logits[at + c] - largest);
      sum += logits[at + c] - largest;
    }
    let uniform_share = params.smoothing / f32(params.classes);
    if (GRADIENT) {
      let weight = select(g[r], 0.0, masked);
      for (var c = 0u; c < params.classes; c++) {
        let goal = uniform_share + select(0.0, 1.0 - params.smoothing, c == label);
        result[at + c] = weight * (exp(logits[at + c] - largest) / total - goal);
      }
      for (var c = params.classes; c < params.columns; c++) { result[at + c] = 0.0; }
    } else if (masked) {
      result[r] = 0.0;
    } else {
      result[r] = log(total) - (1.0 - params.smoothing) * (logits[at + label] - largest) - uniform_share * sum;
    }
  }
}
