// lars_trust.wgsl: trust ratio of each tensor, for LARS.
// norms: [S] = (Σ p², Σ g²) of each segment, with decay in g; trust: [T].
// tensors: [T, 3] = (first segment, count of segments, 1 if adapted or 0 if exempt).
//   trust[t] = coefficient · ‖p‖ / ‖g‖, or 1 where a norm is 0 or the tensor is exempt
// One thread handles one tensor.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { count: u32, coefficient: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> norms: array<vec2f>;
@group(0) @binding(2) var<storage, read> tensors: array<array<u32, 3>>;
@group(0) @binding(3) var<storage, read_write> trust: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let t = id.x;
  if (t >= params.count) { return; }
  let first = tensors[t][0];
  var sum = vec2f();
  for (var s = 0u; s < tensors[t][1]; s++) { sum += norms[first + s]; }
  let adapted = tensors[t][2] == 1u && sum.x > 0.0 && sum.y > 0.0;
  trust[t] = 1.0;
  if (adapted) { trust[t] = params.coefficient * sqrt(sum.x) / sqrt(sum.y); }
}
