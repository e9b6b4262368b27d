// copy.wgsl: copies `count` 32-bit words.
// source, destination: [count].
//   destination[i] = source[i]
// Threads use a grid-stride loop over words.

// @specialize
const WORKGROUP_SIZE = 256u;
// @end

struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> destination: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count; i += workgroups.x * WORKGROUP_SIZE) { destination[i] = source[i]; }
}
