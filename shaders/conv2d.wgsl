// conv2d.wgsl: convolution as an implicit GEMM in registers.
//
// x: [N, H, W, C], y: [N, Ho, Wo, O], w: [kh, kw, C, O] (NHWC and HWIO), bias: [O]; C and O are multiples of 4. Pixels
// of x outside the image count as zero.
//
//   y[n, i·step + y0, j·step + x0, o] = Σ_{t,u,c} x[n, i·stride + origin_y + t·direction, j·stride + origin_x + u·direction, c]
//                                               · w[ky0 + t·tap_step, kx0 + u·tap_step, c, o]  (+ bias[o])
//
// Forward:        step = 1, origin = −padding, direction = +1, ky0 = kx0 = 0, tap_step = 1.
// Input gradient: w transposed to [kh, kw, O, C]. Each parity class (y0, x0) of the image has its own dispatch, so that
//                 a stride never multiplies zeros: step = stride of the layer, stride = 1, direction = −1.
//
// A thread holds PIXELS output pixels × 4·CHANNELS output channels in registers. The lanes of a subgroup compute the same
// channels. weights = shuffled: each lane loads a different vec4 of the weights, and shuffles exchange them. Loads are slow
// on software drivers; with CHANNELS = 8 a thread makes 8 vec4 loads for 128 vec4 products.
// weights = direct: each lane loads all its weights itself, for adapters without subgroups of at least 8 lanes.
enable subgroups;

// @specialize
const WORKGROUP_SIZE = 64u;
const PIXELS = 4u;
const CHANNELS = 4u;
const HAS_BIAS = false;
alias In = vec4f;    // vec4h for f16 activations
alias Out = vec4f;
// @end

struct Params {
  images: u32,        // N of this dispatch
  in_height: u32, in_width: u32, in_channels4: u32,      // C / 4
  out_height: u32, out_width: u32, out_channels4: u32,   // O / 4
  grid_height: u32, grid_width: u32,                     // i and j run over this grid
  step: u32, y0: u32, x0: u32,
  stride: u32, origin_y: i32, origin_x: i32, direction: i32,
  taps_y: u32, taps_x: u32, ky0: u32, kx0: u32, tap_step: u32, kernel_width: u32,
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

// Adds the products of four input channels to `WIDTH` vec4s of output channels, from `first` on. The outer loop runs over
// these vec4s, so that few sums are in registers at a time.
const WIDTH = min(CHANNELS, 4u);
alias Block = array<array<vec4f, PIXELS>, WIDTH>;
fn accumulate(sum: ptr<function, Block>, a: ptr<function, array<vec4f, PIXELS>>, held: ptr<function, Held>, first: u32) {
  for (var v = 0u; v < WIDTH; v++) {
    for (var k = 0u; k < 4u; k++) {
      let b = weight(held, k, first + v);
      for (var p = 0u; p < PIXELS; p++) { (*sum)[v][p] = fma(vec4f((*a)[p][k]), b, (*sum)[v][p]); }
    }
  }
}

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
  let grid = params.grid_height * params.grid_width;

  var row: array<i32, PIXELS>;
  var column: array<i32, PIXELS>;
  var image: array<u32, PIXELS>;
  for (var p = 0u; p < PIXELS; p++) {
    let pixel = (workgroup.x * PIXELS + p) * WORKGROUP_SIZE + local;
    let place = pixel % grid;
    image[p] = pixel / grid;
    row[p] = select(-0x10000000, i32(place / params.grid_width * params.stride) + params.origin_y, image[p] < params.images);
    column[p] = i32(place % params.grid_width * params.stride) + params.origin_x;
  }

  var sum: Block;
  var more: Block;   // second half for CHANNELS = 8: drivers do not unroll one loop over both halves
  for (var t = 0u; t < params.taps_y; t++) {
    for (var u = 0u; u < params.taps_x; u++) {
      var inside: array<bool, PIXELS>;
      var at: array<u32, PIXELS>;
      for (var p = 0u; p < PIXELS; p++) {
        let r = row[p] + i32(t) * params.direction;
        let s = column[p] + i32(u) * params.direction;
        inside[p] = r >= 0 && r < i32(params.in_height) && s >= 0 && s < i32(params.in_width);
        at[p] = ((image[p] * params.in_height + u32(r)) * params.in_width + u32(s)) * params.in_channels4;
      }
      let tap = (params.ky0 + t * params.tap_step) * params.kernel_width + params.kx0 + u * params.tap_step;
      for (var c = 0u; c < params.in_channels4; c++) {
        var a: array<vec4f, PIXELS>;
        for (var p = 0u; p < PIXELS; p++) {
          a[p] = vec4f();
          if (inside[p]) { a[p] = vec4f(x[at[p] + c]); }
        }
        var held = hold((tap * params.in_channels4 + c) * 4u, channel, lane);
        accumulate(&sum, &a, &held, 0u);
        if (CHANNELS > 4u) { accumulate(&more, &a, &held, 4u); }
      }
    }
  }

  for (var p = 0u; p < PIXELS; p++) {
    if (image[p] >= params.images) { continue; }
    let place = ((workgroup.x * PIXELS + p) * WORKGROUP_SIZE + local) % grid;
    let i = place / params.grid_width * params.step + params.y0;
    let j = place % params.grid_width * params.step + params.x0;
    let at = ((image[p] * params.out_height + i) * params.out_width + j) * params.out_channels4;
    for (var v = 0u; v < CHANNELS; v++) {
      let o = channel + v;
      if (o < params.out_channels4) {
        var total: vec4f;
        if (v < WIDTH) { total = sum[v % WIDTH][p]; } else { total = more[v % WIDTH][p]; }
        if (HAS_BIAS) { y[at + o] = stored(total + bias[o]); } else { y[at + o] = stored(total); }
      }
    }
  }
}
