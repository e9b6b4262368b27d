// batch_norm_fold.wgsl: gain and offset of batch-norm from known statistics, for evaluation.
// mean, variance, scale, shift, gain, offset: [C]; C is a multiple of 4.
//   gain = scale / √(variance + epsilon),  offset = shift − mean · gain
// One thread handles one vec4 of channels.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { channels4: u32, epsilon: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mean: array<vec4f>;
@group(0) @binding(2) var<storage, read> variance: array<vec4f>;
@group(0) @binding(3) var<storage, read> scale: array<vec4f>;
@group(0) @binding(4) var<storage, read> shift: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> gain: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> offset: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels4) { return; }
  let a = scale[c] / sqrt(variance[c] + params.epsilon);
  gain[c] = a;
  offset[c] = shift[c] - mean[c] * a;
}
