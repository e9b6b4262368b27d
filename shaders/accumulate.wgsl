// accumulate.wgsl: running sum over the runs of a program, in place.
// total, value: count4 vec4s; index: [1], the number of the run.
//   total ← value where index = 0, else total ← total + value
// The run with index 0 starts a new sum. Threads use a grid-stride loop over vec4s.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { count4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> value: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> total: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  for (var i = id.x; i < params.count4; i += workgroups.x * WORKGROUP_SIZE) {
    if (index[0] == 0u) { total[i] = value[i]; } else { total[i] += value[i]; }
  }
}
