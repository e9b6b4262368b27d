// shift.wgsl: copies a range of elements to another offset, with zeros around it.
// x: [size], y: [count].
//   y[i] = x[i − place + skip] where i ≥ place and that index is below size, else 0
// skip > 0 takes rows out of a tensor; place > 0 puts them into a larger one. Both may be any offset. Threads use a
// grid-stride loop over the elements of y.

// @specialize
const WORKGROUP_SIZE = 256u;
alias T = u32;    // any 32-bit type, or f16
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
