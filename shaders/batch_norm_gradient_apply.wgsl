// batch_norm_gradient_apply.wgsl: second pass of the batch-norm gradient.
// dy, x, dx: [groups, rows, C]; gain, offset: [groups, C]; line: [groups, 2, C] (slope, constant); C is a multiple of 4.
//   dx = gain · g + slope · x + constant
//   g = dy or, with MASK (a fused ReLU without residual), dy where x · gain + offset > 0, else 0
// batch_norm_apply.wgsl explains how threads share a strip.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;
const AT_ONCE = 1u;
const MASK = false;
alias T = vec4f;    // vec4h for f16 storage
// @end

struct Params { rows: u32, channels4: u32, strip: u32, first_group: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<T>;
@group(0) @binding(2) var<storage, read> x: array<T>;
@group(0) @binding(3) var<storage, read> gain: array<vec4f>;
@group(0) @binding(4) var<storage, read> offset: array<vec4f>;
@group(0) @binding(5) var<storage, read> line: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dx: array<T>;

const ITEMS = WORKGROUP_SIZE / SHARE;

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
    let first = (workgroup.y * params.rows + begin) * params.channels4 + c;
    let group = params.first_group + workgroup.y;
    let a = gain[group * params.channels4 + c];
    var b: vec4f;
    if (MASK) { b = offset[group * params.channels4 + c]; }
    let slope = line[2u * group * params.channels4 + c];
    let constant = line[(2u * group + 1u) * params.channels4 + c];
    for (var r = local / ITEMS; r < count; r += AT_ONCE * SHARE) {
      var results: array<vec4f, AT_ONCE>;
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        let at = first + select(min(r + q * SHARE, count - 1u), r, q == 0u) * params.channels4;
        let value = vec4f(x[at]);
        var g = vec4f(dy[at]);
        if (MASK) { g = select(vec4f(), g, fma(value, a, b) > vec4f()); }
        results[q] = fma(a, g, fma(slope, value, constant));
      }
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        if (q == 0u || r + q * SHARE < count) { dx[first + (r + q * SHARE) * params.channels4] = stored(results[q]); }
      }
    }
  }
}
