// conv2d_row.wgsl: 3×3 convolution of stride 1 as an implicit GEMM in registers, where taps share their loads.
//
// x: [N, H, W, C], y: [N, Ho, Wo, O], w: [3, 3, C, O] (NHWC and HWIO), bias: [O]; C and O are multiples of 4. Pixels of x
// outside the image count as zero.
//
//   y[n, i, j, o] = Σ_{t,u,c} x[n, i + origin_y + t, j + origin_x + u, c] · w[t, u, c, o]  (+ bias[o]),   t, u in 0 … 2
//
// Input gradient: w transposed to [3, 3, O, C]; REVERSED reads its taps from last to first.
//
// A thread holds PIXELS neighbouring pixels of one row of y × 4·CHANNELS output channels. The three taps of a kernel row
// share PIXELS + 2 pixels of x, each loaded once: a third fewer loads than conv2d.wgsl, weights included.
// weights: as in conv2d.wgsl.
// ends = loaded: the first and the last of these pixels are loaded like the others.
// ends = shuffled: they come from the neighbouring lanes, which hold them. This needs x as wide as y (origin_x = −1), whole
//   rows in eight lanes (8·PIXELS is a multiple of the width, which is a multiple of PIXELS), and subgroup lanes that
//   follow local_invocation_index.
enable subgroups;

// @specialize
const WORKGROUP_SIZE = 64u;
const PIXELS = 4u;
const CHANNELS = 4u;
const HAS_BIAS = false;
const REVERSED = false;
alias In = vec4f;    // vec4h for f16 activations
alias Out = vec4f;
// @end

struct Params {
  images: u32,        // N of this dispatch
  in_height: u32, in_width: u32, in_channels4: u32,      // C / 4
  out_height: u32, out_width: u32, out_channels4: u32,   // O / 4
  origin_y: i32, origin_x: i32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read> w: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<Out>;

// The weights of four input channels (four rows of w from `row` on) for 4·CHANNELS output channels.
// @snippet weights = shuffled
alias Held = array<vec4f, CHANNELS / 2u>;
fn hold(row: u32, channel: u32, lane: u32) -> Held {
  var held: Held;
  for (var l = 0u; l < CHANNELS / 2u; l++) {
    let q = l * 8u + lane;
    held[l] = w[(row + q / CHANNELS) * params.out_channels4 + min(channel + q % CHANNELS, params.out_channels4 - 1u)];
  }
  return held;
}
fn weight(held: ptr<function, Held>, k: u32, v: u32) -> vec4f {
  let q = k * CHANNELS + v;
  return subgroupShuffle((*held)[q / 8u], q % 8u);
}
// @end
/* @snippet weights = direct
struct Held { row: u32, channel: u32 }
fn hold(row: u32, channel: u32, lane: u32) -> Held { return Held(row, channel); }
fn weight(held: ptr<function, Held>, k: u32, v: u32) -> vec4f {
  return w[((*held).row + k) * params.out_channels4 + min((*held).channel + v, params.out_channels4 - 1u)];
}
@end */

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
  @builtin(local_invocation_index) local: u32,
  // @snippet weights = shuffled
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
  // @end
) {
  let channel = workgroup.y * CHANNELS;
  // @snippet weights = shuffled
  let lane = subgroup_lane % 8u;   // groups of eight lanes exchange weights, whatever the subgroup size
  // @end
  /* @snippet weights = direct
  let lane = 0u;
  @end */
  let runs = (params.out_width + PIXELS - 1u) / PIXELS;
  let run = workgroup.x * WORKGROUP_SIZE + local;
  let j = run % runs * PIXELS;
  let i = run / runs % params.out_height;
  let image = run / runs / params.out_height;
  let left = i32(j) + params.origin_x;

  var sum: array<array<vec4f, CHANNELS>, PIXELS>;
  for (var t = 0u; t < 3u; t++) {
    let r = i32(i + t) + params.origin_y;
    let inside = image < params.images && r >= 0 && r < i32(params.in_height);
    let at = (image * params.in_height + u32(r)) * params.in_width;
    for (var c = 0u; c < params.in_channels4; c++) {
      var a: array<vec4f, PIXELS + 2u>;
      // @snippet ends = loaded
      for (var p = 0u; p < PIXELS + 2u; p++) {
        let s = left + i32(p);
        a[p] = vec4f();
        if (inside && s >= 0 && s < i32(params.in_width)) { a[p] = vec4f(x[(at + u32(s)) * params.in_channels4 + c]); }
      }
      // @end
      /* @snippet ends = shuffled
      for (var p = 0u; p < PIXELS; p++) {
        a[p + 1u] = vec4f();
        if (inside) { a[p + 1u] = vec4f(x[(at + j + p) * params.in_channels4 + c]); }
      }
      let first = subgroup_lane - lane;   // of the eight lanes that hold the row; a subgroup may have more
      a[0] = select(vec4f(), subgroupShuffle(a[PIXELS], first + (lane + 7u) % 8u), j > 0u);
      a[PIXELS + 1u] = select(vec4f(), subgroupShuffle(a[1], first + (lane + 1u) % 8u), j + PIXELS < params.out_width);
      @end */
      for (var u = 0u; u < 3u; u++) {
        let tap = select(3u * t + u, 8u - 3u * t - u, REVERSED);
        var held = hold((tap * params.in_channels4 + c) * 4u, channel, lane);
        for (var k = 0u; k < 4u; k++) {
          for (var v = 0u; v < CHANNELS; v++) {
            let b = weight(&held, k, v);
            for (var p = 0u; p < PIXELS; p++) { sum[p][v] = fma(vec4f(a[p + u][k]), b, sum[p][v]); }
          }
        }
      }
    }
  }

  if (image >= params.images) { return; }
  for (var p = 0u; p < PIXELS; p++) {
    if (j + p >= params.out_width) { break; }
    let at = ((image * params.out_height + i) * params.out_width + j + p) * params.out_channels4;
    for (var v = 0u; v < CHANNELS; v++) {
      let o = channel + v;
      if (o < params.out_channels4) {
        if (HAS_BIAS) { y[at + o] = stored(sum[p][v] + bias[o]); } else { y[at + o] = stored(sum[p][v]); }
      }
    }
  }
}
