// batch_norm_gradient_merge.wgsl: combines the sums of the batch-norm gradient and prepares its second pass.
//
// partial: [groups, strips, 2, C]; mean, variance, gain: [groups, C]; line: [groups, 2, C];
// d_scale, d_shift: [C]; C is a multiple of 4.
//
//   r = 1 / √(variance + epsilon)
//   d_scale[c] = Σ_groups r · Σ g (x − mean),   d_shift[c] = Σ_groups Σ g
//   dx = gain · g − gain · Σg / n − (x − mean) · gain · r² · Σ g (x − mean) / (n − correction)
//      = gain · g + slope · x + constant,   where line holds slope[g, c] and constant[g, c]
//
// One thread handles one vec4 of channels of all groups, in order.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { groups: u32, rows: u32, channels4: u32, strips: u32, epsilon: f32, correction: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4f>;
@group(0) @binding(2) var<storage, read> mean: array<vec4f>;
@group(0) @binding(3) var<storage, read> variance: array<vec4f>;
@group(0) @binding(4) var<storage, read> gain: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> line: array<vec4f>;   // [groups, 2, C]: slope, constant
@group(0) @binding(6) var<storage, read_write> d_scale: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> d_shift: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels4) { return; }
  var scale_sum = vec4f();
  var shift_sum = vec4f();
  for (var g = 0u; g < params.groups; g++) {
    var sum = vec4f();
    var product = vec4f();
    for (var s = 0u; s < params.strips; s++) {
      let at = (g * params.strips + s) * 2u * params.channels4 + c;
      sum += partial[at];
      product += partial[at + params.channels4];
    }
    let k = g * params.channels4 + c;
    let r = 1.0 / sqrt(variance[k] + params.epsilon);
    scale_sum += r * product;
    shift_sum += sum;
    let slope = -gain[k] * r * r * product / (f32(params.rows) - params.correction);
    line[2u * g * params.channels4 + c] = slope;
    line[(2u * g + 1u) * params.channels4 + c] = -gain[k] * sum / f32(params.rows) - slope * mean[k];
  }
  d_scale[c] = scale_sum;
  d_shift[c] = shift_sum;
}
