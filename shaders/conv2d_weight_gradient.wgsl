// conv2d_weight_gradient.wgsl: gradient of a convolution in its weights, in registers, with the sum cut into splits.
//
// x: [N, H, W, C], dy: [N, Ho, Wo, O], partial: [splits, kh, kw, C, O] (NHWC and HWIO); C and O are multiples of 4.
//
//   partial[s, ky, kx, c, o] = Σ over the output pixels (n, i, j) of split s of
//                              x[n, i·stride + ky − padding, j·stride + kx − padding, c] · dy[n, i, j, o]
//
// reduce.wgsl adds the splits in order.
//
// A thread computes one vec4 of input channels at one tap × 4·CHANNELS output channels. The lanes of a subgroup use the
// same output channels. gradients = shuffled: eight lanes load dy for four pixels together, and shuffles exchange it.
// gradients = direct: each lane loads all of it itself, for adapters without subgroups of at least 8 lanes.
enable subgroups;

// @specialize
const WORKGROUP_SIZE = 32u;
const CHANNELS = 4u;
alias In = vec4f;    // vec4h for f16 activations
// @end

struct Params {
  images: u32, in_height: u32, in_width: u32, in_channels4: u32,
  out_height: u32, out_width: u32, out_channels4: u32,
  stride: u32, padding: u32, kernel_height: u32, kernel_width: u32,
  pixels_per_split: u32,   // a multiple of 8
  first_split: u32,        // first split of this dispatch in partial
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read> dy: array<In>;
@group(0) @binding(3) var<storage, read_write> partial: array<vec4f>;

// dy of four pixels from `pixel` on, for 4·CHANNELS output channels; zero from `end` on.
// @snippet gradients = shuffled
alias Held = array<vec4f, CHANNELS / 2u>;
fn hold(pixel: u32, end: u32, channel: u32, lane: u32) -> Held {
  var held: Held;
  for (var l = 0u; l < CHANNELS / 2u; l++) {
    let q = l * 8u + lane;
    let mine = pixel + q / CHANNELS;
    if (mine < end) { held[l] = vec4f(dy[mine * params.out_channels4 + min(channel + q % CHANNELS, params.out_channels4 - 1u)]); }
  }
  return held;
}
fn gradient(held: ptr<function, Held>, k: u32, v: u32) -> vec4f {
  let q = k * CHANNELS + v;
  return subgroupShuffle((*held)[q / 8u], q % 8u);
}
// @end
/* @snippet gradients = direct
struct Held { pixel: u32, end: u32, channel: u32 }
fn hold(pixel: u32, end: u32, channel: u32, lane: u32) -> Held { return Held(pixel, end, channel); }
fn gradient(held: ptr<function, Held>, k: u32, v: u32) -> vec4f {
  let at = min((*held).pixel + k, (*held).end - 1u) * params.out_channels4;
  return vec4f(dy[at + min((*held).channel + v, params.out_channels4 - 1u)]);
}
@end */

// Adds the products of four pixels to `WIDTH` vec4s of output channels, from `first` on. The outer loop runs over these
// vec4s, so that only four sums are in registers at a time.
const WIDTH = min(CHANNELS, 4u);
alias Block = array<array<vec4f, 4>, WIDTH>;
fn accumulate(sum: ptr<function, Block>, a: ptr<function, array<vec4f, 4>>, held: ptr<function, Held>, first: u32) {
  for (var v = 0u; v < WIDTH; v++) {
    for (var k = 0u; k < 4u; k++) {
      let g = gradient(held, k, first + v);
      for (var q = 0u; q < 4u; q++) { (*sum)[v][q] = fma(vec4f((*a)[k][q]), g, (*sum)[v][q]); }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) local: u32,
  // @snippet gradients = shuffled
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
  // @end
) {
  // @snippet gradients = shuffled
  let lane = subgroup_lane % 8u;   // groups of eight lanes exchange gradients, whatever the subgroup size
  // @end
  /* @snippet gradients = direct
  let lane = 0u;
  @end */
  let rows = params.kernel_height * params.kernel_width * params.in_channels4;
  // Threads beyond the last row repeat the work of the last row, because their neighbours need their loads.
  let row = min(workgroup.x * WORKGROUP_SIZE + local, rows - 1u);
  let tap = row / params.in_channels4;
  let ky = i32(tap / params.kernel_width) - i32(params.padding);
  let kx = i32(tap % params.kernel_width) - i32(params.padding);
  let c = row % params.in_channels4;
  let channel = workgroup.y * CHANNELS;
  let pixels = params.images * params.out_height * params.out_width;
  let begin = workgroup.z * params.pixels_per_split;
  let end = min(begin + params.pixels_per_split, pixels);

  // The output pixel (n, i, j), moved on by additions: divisions at every pixel cost more than the products.
  var j = begin % params.out_width;
  var i = begin / params.out_width % params.out_height;
  var n = begin / params.out_width / params.out_height;
  var sum: Block;
  var more: Block;   // second half for CHANNELS = 8: drivers do not unroll one loop over both halves
  for (var pixel = begin; pixel < end; pixel += 4u) {
    var a: array<vec4f, 4>;
    for (var k = 0u; k < 4u; k++) {
      let r = i32(i * params.stride) + ky;
      let s = i32(j * params.stride) + kx;
      a[k] = vec4f();
      if (pixel + k < end && r >= 0 && r < i32(params.in_height) && s >= 0 && s < i32(params.in_width)) {
        a[k] = vec4f(x[((n * params.in_height + u32(r)) * params.in_width + u32(s)) * params.in_channels4 + c]);
      }
      j++;
      i += select(0u, 1u, j == params.out_width);
      j = select(j, 0u, j == params.out_width);
      n += select(0u, 1u, i == params.out_height);
      i = select(i, 0u, i == params.out_height);
    }
    var held = hold(pixel, end, channel, lane);
    accumulate(&sum, &a, &held, 0u);
    if (CHANNELS > 4u) { accumulate(&more, &a, &held, 4u); }
  }

  if (workgroup.x * WORKGROUP_SIZE + local >= rows) { return; }
  let at = ((params.first_split + workgroup.z) * rows + row) * 4u * params.out_channels4;
  for (var q = 0u; q < 4u; q++) {
    for (var v = 0u; v < CHANNELS; v++) {
      if (channel + v >= params.out_channels4) { continue; }
      var total: vec4f;
      if (v < WIDTH) { total = sum[v % WIDTH][q]; } else { total = more[v % WIDTH][q]; }
      partial[at + q * params.out_channels4 + channel + v] = total;
    }
  }
}
