// batch_norm_apply.wgsl: normalise with known gain and offset, optionally with residual and ReLU.
// x, residual, y: [groups, rows, C]; gain, offset: [groups, C]; C is a multiple of 4. Evaluation has one group.
//   y = x · gain + offset (+ residual with RESIDUAL), then ReLU with RELU
// SHARE threads handle one vec4 of channels in a strip of rows, so each loads gain and offset once. A thread takes every
// SHARE-th row, and loads AT_ONCE rows before it stores the first.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;
const AT_ONCE = 1u;
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

const ITEMS = WORKGROUP_SIZE / SHARE;   // an item is one vec4 of channels of one strip

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
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let items = (params.rows + params.strip - 1u) / params.strip * params.channels4;
  for (var i = workgroup.x * ITEMS + local % ITEMS; i < items; i += workgroups.x * ITEMS) {
    let c = i % params.channels4;
    let begin = i / params.channels4 * params.strip;
    let count = min(params.strip, params.rows - begin);
    let at = (workgroup.y * params.rows + begin) * params.channels4 + c;
    let a = gain[(params.first_group + workgroup.y) * params.channels4 + c];
    let b = offset[(params.first_group + workgroup.y) * params.channels4 + c];
    for (var r = local / ITEMS; r < count; r += AT_ONCE * SHARE) {
      var values: array<vec4f, AT_ONCE>;
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        let place = at + select(min(r + q * SHARE, count - 1u), r, q == 0u) * params.channels4;
        values[q] = fma(vec4f(x[place]), a, b);
        if (RESIDUAL) { values[q] += vec4f(residual[place]); }
        if (RELU) { values[q] = max(values[q], vec4f()); }
      }
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        if (q == 0u || r + q * SHARE < count) { y[at + (r + q * SHARE) * params.channels4] = stored(values[q]); }
      }
    }
  }
}
