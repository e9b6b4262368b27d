// squares.wgsl: sums of squares of segments of tensors.
// x: tensors side by side, each aligned to 256 bytes; the gaps are ignored. The binding starts at vec4 `base4`.
// segments: [S, 3] = (first vec4, count of numbers, index of the tensor); sums: [S]; factor: [1].
//   sums[s] = Σ x² over segment s; with SCALED, x is factor · x
// One workgroup handles one segment, from `first` on.

// @specialize
const WORKGROUP_SIZE = 64u;
const SCALED = false;
// @end

struct Params { first: u32, base4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> segments: array<array<u32, 3>>;
@group(0) @binding(3) var<storage, read> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

var<workgroup> partial: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) lane: u32) {
  let s = params.first + workgroup.x;
  let at = segments[s][0] - params.base4;
  let count = segments[s][1];
  var mine = 0.0;
  for (var i = lane; 4u * i < count; i += WORKGROUP_SIZE) {
    let inside = vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(count);
    var v = select(vec4f(), x[at + i], inside);
    if (SCALED) { v *= factor[0]; }
    mine += dot(v, v);
  }
  partial[lane] = mine;
  for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  if (lane == 0u) { sums[s] = partial[0]; }
}
