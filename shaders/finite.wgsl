// finite.wgsl: overflow[s] = 1 where segment s of x holds an infinity or no number at all, else 0.
//
// x: tensors side by side, each from a multiple of 256 bytes on; what lies between them is not looked at.
// segments: [S, 3], where each begins, in vec4s, how many numbers it has, and of which tensor; overflow: [S]. Bound is x
// from vec4 `base4` on. Exponents' bits are compared, not numbers: WGSL lets a compiler assume that there is no infinity.
// One workgroup: one segment, from `first` on.

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
