// chunk.wgsl: chunk[i] = x[index · chunk_size + i] or, with STORE, x[index · chunk_size + i] = chunk[i].
//
// Takes equal chunks of rows out of x, or puts them there, one a run, at a place that only the GPU knows.
// source and destination are x and the chunk or, with STORE, the chunk and x; index: [1]. Words of 32 bits.
// Bound are the `count` words of the chunk from word `first` and the `size` words of x from word `base`.
// One invocation: elements of the chunk a grid apart.

// @specialize
const WORKGROUP_SIZE = 256u;
const STORE = false;
// @end

struct Params { count: u32, first: u32, chunk_size: u32, base: u32, size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> source: array<u32>;
@group(0) @binding(3) var<storage, read_write> destination: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  // Before the part of x that is bound, the difference wraps around and is larger than any size.
  let start = index[0] * params.chunk_size + params.first - params.base;
  for (var i = id.x; i < params.count; i += workgroups.x * WORKGROUP_SIZE) {
    let at = start + i;
    if (at >= params.size) { continue; }
    if (STORE) { destination[at] = source[i]; } else { destination[i] = source[at]; }
  }
}
