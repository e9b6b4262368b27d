// nt_xent.wgsl: softmax cross-entropy of each row against its partner, without its own column, and its gradient.
// s, ds: [batch, size, size], with `count` rows in total; g: [count]; result: loss [count], or ds.
//   loss[z, r] = log Σ_{c≠r} exp s[z, r, c] − s[z, r, p],   p = (r + size / 2) mod size
//   with GRADIENT: ds[z, r, c] = g[z, r] · (exp s[z, r, c] / Σ_{c'≠r} exp s[z, r, c'] − [c = p]) for c ≠ r, else 0
// One thread handles one row.

// @specialize
const WORKGROUP_SIZE = 64u;
const GRADIENT = false;
// @end

struct Params { count: u32, size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count; i += workgroups.x * WORKGROUP_SIZE) {
    let at = i * params.size;
    let own = i % params.size;
    let partner = (own + params.size / 2u) % params.size;
    var largest = s[at + partner];
    for (var c = 0u; c < params.size; c++) { if (c != own) { largest = max(largest, s[at + c]); } }
    var total = 0.0;
    for (var c = 0u; c < params.size; c++) { if (c != own) { total += exp(s[at + c] - largest); } }
    if (GRADIENT) {
      for (var c = 0u; c < params.size; c++) {
        let share = exp(s[at + c] - largest) / total - select(0.0, 1.0, c == partner);
        result[at + c] = select(g[i] * share, 0.0, c == own);
      }
    } else {
      result[i] = log(total) - (s[at + partner] - largest);
    }
  }
}
