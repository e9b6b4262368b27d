// conv2d_weight_gradient_direct.wgsl: the gradient of a convolution in its weights, split along its long sum, where
// subgroups are absent or smaller than 8 lanes.
//
//   partial[s, ky, kx, c, o] = Σ over the output pixels (n, i, j) of split s of
//                              x[n, i·stride + ky − padding, j·stride + kx − padding, c] · dy[n, i, j, o]
//
// Activations NHWC, weights HWIO, C and O multiples of 4. The splits are summed afterwards, in order, by reduce.wgsl.
//
// An invocation owns one vec4 of input channels at one tap and 4·CHANNELS output channels.

// @specialize
const WORKGROUP_SIZE = 32u;
const CHANNELS = 4u;
// @end

struct Params {
  images: u32, in_height: u32, in_width: u32, in_channels4: u32,
  out_height: u32, out_width: u32, out_channels4: u32,
  stride: u32, padding: u32, kernel_height: u32, kernel_width: u32,
  pixels_per_split: u32,   // a multiple of 8
  first_split: u32,        // where this dispatch's splits begin in partial
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partial: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let rows = params.kernel_height * params.kernel_width * params.in_channels4;
  let row = workgroup.x * WORKGROUP_SIZE + local;
  if (row >= rows) { return; }
  let tap = row / params.in_channels4;
  let ky = i32(tap / params.kernel_width) - i32(params.padding);
  let kx = i32(tap % params.kernel_width) - i32(params.padding);
  let c = row % params.in_channels4;
  let channel = workgroup.y * CHANNELS;
  let pixels = params.images * params.out_height * params.out_width;
  let begin = workgroup.z * params.pixels_per_split;
  let end = min(begin + params.pixels_per_split, pixels);

  // The output pixel (n, i, j), counted up: dividing at every pixel would cost more than the products.
  var j = begin % params.out_width;
  var i = begin / params.out_width % params.out_height;
  var n = begin / params.out_width / params.out_height;
  var sum: array<array<vec4f, CHANNELS>, 4>;
  for (var pixel = begin; pixel < end; pixel++) {
    let r = i32(i * params.stride) + ky;
    let s = i32(j * params.stride) + kx;
    let image = n * params.in_height;
    j++;
    if (j == params.out_width) { j = 0u; i++; }
    if (i == params.out_height) { i = 0u; n++; }
    if (r < 0 || r >= i32(params.in_height) || s < 0 || s >= i32(params.in_width)) { continue; }
    let a = x[((image + u32(r)) * params.in_width + u32(s)) * params.in_channels4 + c];
    for (var v = 0u; v < CHANNELS; v++) {
      let gradient = dy[pixel * params.out_channels4 + min(channel + v, params.out_channels4 - 1u)];
      for (var q = 0u; q < 4u; q++) { sum[q][v] = fma(vec4f(a[q]), gradient, sum[q][v]); }
    }
  }

  let at = ((params.first_split + workgroup.z) * rows + row) * 4u * params.out_channels4;
  for (var q = 0u; q < 4u; q++) {
    for (var v = 0u; v < CHANNELS; v++) {
      if (channel + v < params.out_channels4) { partial[at + q * params.out_channels4 + channel + v] = sum[q][v]; }
    }
  }
}
