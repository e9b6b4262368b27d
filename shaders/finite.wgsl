// finite.wgsl: finds segments of tensors with an infinity or NaN.
// x: tensors side by side, each aligned to 256 bytes; the gaps are ignored. The binding starts at vec4 `base4`.
// segments: [S, 3] = (first vec4, count of numbers, index of the tensor); overflow: [S].
//   overflow[s] = 1 where segment s of x holds an infinity or NaN, else 0
// Exponent bits are compared, because WGSL lets a compiler assume that no value is infinite.
// One workgroup handles one segment, from `first` on.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { first: u32, base4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4u>;
@group(0) @binding(2) var<storage, read> segments: array<array<u32, 3>>;
@group(0) @binding(3) var<storage, read_write> overflow: array<u32>;

const EXPONENT = vec4u(0x7f800000u);
var<workgroup> found: atomic<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) lane: u32) {
  let s = params.first + workgroup.x;
  let at = segments[s][0] - params.base4;
  let count = segments[s][1];
  var mine = false;
  for (var i = lane; 4u * i < count; i += WORKGROUP_SIZE) {
    let inside = vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(count);
    mine |= any(inside & ((x[at + i] & EXPONENT) == EXPONENT));
  }
  if (mine) { atomicStore(&found, 1u); }
  workgroupBarrier();
  if (lane == 0u) { overflow[s] = atomicLoad(&found); }
}
