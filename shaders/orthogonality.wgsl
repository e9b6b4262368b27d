// orthogonality.wgsl: squared distance of square matrices from goal · I, with weights, and its gradient.
// c, dc: [batch, size, size], with `count` rows in total; result: rows [count], or dc; g: [1].
//   rows[z, k] = on · (c[z, k, k] − goal)² + off · Σ_{l≠k} c[z, k, l]²          (their sum is the loss)
//   with GRADIENT: dc[z, k, l] = g · (2 · on · (c[z, k, k] − goal) for k = l, else 2 · off · c[z, k, l])
// One thread handles one row (loss) or one element (gradient).

// @specialize
const WORKGROUP_SIZE = 64u;
const GRADIENT = false;
// @end

struct Params { count: u32, size: u32, on: f32, off: f32, goal: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> c: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;   // rows, or dc

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  if (GRADIENT) {
    for (var i = id.x; i < params.count * params.size; i += workgroups.x * WORKGROUP_SIZE) {
      let diagonal = i / params.size % params.size == i % params.size;
      result[i] = g[0] * 2.0 * select(params.off * c[i], params.on * (c[i] - params.goal), diagonal);
    }
  } else {
    for (var k = id.x; k < params.count; k += workgroups.x * WORKGROUP_SIZE) {
      var sum = 0.0;
      for (var l = 0u; l < params.size; l++) {
        let value = c[k * params.size + l];
        if (l == k % params.size) { sum += params.on * (value - params.goal) * (value - params.goal); } else { sum += params.off * value * value; }
      }
      result[k] = sum;
    }
  }
}
