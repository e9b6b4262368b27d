// batch_norm_apply.wgsl: normalise with known gain and offset, optionally with residual and ReLU.
// x, residual, y: [groups, rows, C]; gain, offset: [groups, C]; C is a multiple of 4. Evaluation has one group.
//   y = x · gain + offset (+ residual with RESIDUAL), then ReLU with RELU
// One thread handles one vec4 of channels in a strip of rows, so it loads gain and offset once.

// @specialize
const WORKGROUP_SIZE = 64u;
const RELU = false;
const RESIDUAL = false;
alias T = vec4f;    // vec4h for f16 storage
// @end

struct Params { rows: u32, channels4: u32, strip: u32, first_group: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<T>;
@group(0) @binding(2) var<storage, read> gain: array<vec4f>;
@group(0) @binding(3) var<storage, read> offset: array<vec4f>;
@group(0) @binding(4) var<storage, read> residual: array<T>;
@group(0) @binding(5) var<storage, read_write> y: array<T>;

// @snippet store = f32
fn stored(v: vec4f) -> vec4f { return v; }
// @end
/* @snippet store = f16
// Overflow becomes +∞, written as bits: WGSL does not define the result of such a conversion.
fn stored(v: vec4f) -> vec4h {
  let infinity = vec2u(0x7c007c00u);
  return select(vec4h(v), bitcast<vec4h>(infinity), (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x477fe000u));
}
@end */

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  let strips = (params.rows + params.strip - 1u) / params.strip;
  for (var i = id.x; i < strips * params.channels4; i += workgroups.x * WORKGROUP_SIZE) {
    let c = i % params.channels4;
    let begin = i / params.channels4 * params.strip;
    let count = min(params.strip, params.rows - begin);
    let at = (id.y * params.rows + begin) * params.channels4 + c;
    let a = gain[(params.first_group + id.y) * params.channels4 + c];
    let b = offset[(params.first_group + id.y) * params.channels4 + c];
    for (var r = 0u; r < count; r++) {
      var value = fma(vec4f(x[at + r * params.channels4]), a, b);
      if (RESIDUAL) { value += vec4f(residual[at + r * params.channels4]); }
      if (RELU) { value = max(value, vec4f()); }
      y[at + r * params.channels4] = stored(value);
    }
  }
}
