// gather.wgsl: rows of a table by index, and the gradient of that.
// table, dtable: [entries, columns]; index: [count]; y, dy: [count, columns].
//   y[i, :] = table[index[i], :]
//   with GRADIENT: dtable[r, :] = Σ dy[i, :] over the i with index[i] = r
// One thread computes one element of the result, so that the sums of the gradient run in a fixed order.

// @specialize
const WORKGROUP_SIZE = 64u;
const GRADIENT = false;
// @end

struct Params { entries: u32, count: u32, columns: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;   // table; with GRADIENT: dy
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  let rows = select(params.count, params.entries, GRADIENT);
  for (var k = id.x; k < rows * params.columns; k += workgroups.x * WORKGROUP_SIZE) {
    let r = k / params.columns;
    let c = k % params.columns;
    if (GRADIENT) {
      var sum = 0.0;
      for (var i = 0u; i < params.count; i++) {
        if (index[i] == r) { sum += x[i * params.columns + c]; }
      }
      y[k] = sum;
    } else {
      y[k] = x[min(index[r], params.entries - 1u) * params.columns + c];
    }
  }
}
