// lars_norms.wgsl: squared norms of parameters p and gradients g, for LARS.
// parameters, gradients: tensors side by side, each aligned to 256 bytes; the gaps are ignored. The bindings start at
// vec4 `base4`.
// segments: [S, 3] = (first vec4, count of numbers, index of the tensor); norms: [S]; factor: [1].
// tensors: [T, 3] = (first segment, count of segments, 1 if adapted or 0 if exempt).
//   norms[s] = (Σ p², Σ (g + decay · p)²) over segment s
// An exempt tensor has no decay. With SCALED, g is factor · gradients. One workgroup handles one segment, from `first` on.

// @specialize
const WORKGROUP_SIZE = 64u;
const SCALED = false;
// @end

struct Params { first: u32, base4: u32, decay: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parameters: array<vec4f>;
@group(0) @binding(2) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(3) var<storage, read> segments: array<array<u32, 3>>;
@group(0) @binding(4) var<storage, read> tensors: array<array<u32, 3>>;
@group(0) @binding(5) var<storage, read> factor: array<f32>;
@group(0) @binding(6) var<storage, read_write> norms: array<vec2f>;

var<workgroup> sums: array<vec2f, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) lane: u32) {
  let s = params.first + workgroup.x;
  let at = segments[s][0] - params.base4;
  let count = segments[s][1];
  let decay = select(0.0, params.decay, tensors[segments[s][2]][2] == 1u);
  var mine = vec2f();
  for (var i = lane; 4u * i < count; i += WORKGROUP_SIZE) {
    let inside = vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(count);
    let p = select(vec4f(), parameters[at + i], inside);
    var g = select(vec4f(), gradients[at + i], inside);
    if (SCALED) { g *= factor[0]; }
    g = fma(vec4f(decay), p, g);
    mine += vec2f(dot(p, p), dot(g, g));
  }
  sums[lane] = mine;
  for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  if (lane == 0u) { norms[s] = sums[0]; }
}
