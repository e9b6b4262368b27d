// chunk.wgsl: copies one of many equal chunks of rows out of a tensor x or, with STORE, into it.
// source, destination: x and the chunk or, with STORE, the chunk and x, in 32-bit words; index: [1], the number of the
// chunk, known only on the GPU. The bindings hold `count` words of the chunk from word `first` and `size` words of x
// from word `base`.
//   chunk[i] = x[index · chunk_size + i] or, with STORE, x[index · chunk_size + i] = chunk[i]
// Threads use a grid-stride loop over words of the chunk.

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
  // For words before the bound part of x the difference wraps around, so it is larger than any size.
  let start = index[0] * params.chunk_size + params.first - params.base;
  for (var i = id.x; i < params.count; i += workgroups.x * WORKGROUP_SIZE) {
    let at = start + i;
    if (at >= params.size) { continue; }
    if (STORE) { destination[at] = source[i]; } else { destination[i] = source[at]; }
  }
}
