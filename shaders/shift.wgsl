// shift.wgsl: y[i] = x[i − place + skip] where that lies in the part of x that is asked for, else 0.
//
// Takes rows out of a tensor (skip > 0) or puts them into a larger one (place > 0, zero elsewhere), at any offset.
// x: [size], y: [count], of words. One invocation: elements of y a grid apart.

// @specialize
const WORKGROUP_SIZE = 256u;
alias T = u32;    // any 32 bits; f16: numbers of 16
// @end

struct Params { count: u32, size: u32, skip: u32, place: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<T>;
@group(0) @binding(2) var<storage, read_write> y: array<T>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count; i += workgroups.x * WORKGROUP_SIZE) {
    var value = T();
    if (i >= params.place && i - params.place + params.skip < params.size) { value = x[i - params.place + params.skip]; }
    y[i] = value;
  }
}
