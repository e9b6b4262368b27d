// conv2d_weight_gradient_tiled.wgsl: gradient of a convolution in its weights, and product aᵀ·b, in workgroup memory.
//
// x: [batches, N, H, W, C], dy: [batches, N, Ho, Wo, O], dw: [splits, batches, kh, kw, C, O] (NHWC and HWIO); C and O are
// multiples of 4.
//
//   dw[s, z, ky, kx, c, o] = Σ over the output pixels (n, i, j) of split s of
//                            x[z, n, i·stride + ky − padding, j·stride + kx − padding, c] · dy[z, n, i, j, o]
//
// As a product it has rows m = (ky, kx, c), depth k = (n, i, j) and columns o. c = aᵀ·b is the gradient for a 1×1 kernel
// over an image of K × 1 pixels; `batches` products (z) lie one after another. reduce4.wgsl adds the splits in order.
//
// A workgroup computes a tile of 4·ROWS4·THREADS_Y rows × 4·COLUMNS4·THREADS_X columns, a thread 4·ROWS4 × 4·COLUMNS4 of
// it in registers. For every block of 16 pixels the workgroup stages the rows and columns of the tile once in workgroup
// memory (128×128: 16 KiB for 262,144 multiplications), in their order in memory. A thread then reads ROWS4 + COLUMNS4
// vec4s for 16·ROWS4·COLUMNS4 multiplications. While a block is multiplied, the next one is loaded from memory into
// registers.

// @specialize
const THREADS_X = 16u;     // THREADS_X · THREADS_Y: 64 to 256
const THREADS_Y = 16u;
const ROWS4 = 1u;
const COLUMNS4 = 1u;
alias In = vec4f;          // vec4h for f16 storage
alias Gradient = vec4f;
alias Out = vec4f;
// @end

struct Params {
  images: u32, in_height: u32, in_width: u32, in_channels4: u32,
  out_height: u32, out_width: u32, out_channels4: u32,
  stride: u32, padding: u32, kernel_height: u32, kernel_width: u32,
  batches: u32,
  pixels_per_split: u32,   // a multiple of 16
  first_split: u32,        // first split of this dispatch in dw
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read> dy: array<Gradient>;
@group(0) @binding(3) var<storage, read_write> dw: array<Out>;

const DEPTH = 16u;   // pixels of a block
const INVOCATIONS = THREADS_X * THREADS_Y;
const TILE_ROWS4 = ROWS4 * THREADS_Y;
const TILE_COLUMNS4 = COLUMNS4 * THREADS_X;
const LOADS_X = TILE_ROWS4 * DEPTH / INVOCATIONS;      // vec4s of a block that one thread loads
const LOADS_DY = TILE_COLUMNS4 * DEPTH / INVOCATIONS;

var<workgroup> left: array<vec4f, DEPTH * TILE_ROWS4>;       // left[k][m / 4]
var<workgroup> right: array<vec4f, DEPTH * TILE_COLUMNS4>;   // right[k][o / 4]

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

// An output pixel.
struct Pixel { n: u32, i: u32, j: u32 }

fn pixel_of(k: u32) -> Pixel {
  let line = k / params.out_width;
  return Pixel(line / params.out_height, line % params.out_height, k % params.out_width);
}

// Moves on with additions and carries: divisions at every pixel cost far more.
fn advanced(at: Pixel, by: Pixel) -> Pixel {
  var j = at.j + by.j;
  var i = at.i + by.i;
  var n = at.n + by.n;
  if (j >= params.out_width) { j -= params.out_width; i++; }
  if (i >= params.out_height) { i -= params.out_height; n++; }
  return Pixel(n, i, j);
}

@compute @workgroup_size(INVOCATIONS)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  // Tile numbers run along the columns first, so that tiles that run at the same time read the same pixels of x.
  let column_tiles = (params.out_channels4 + TILE_COLUMNS4 - 1u) / TILE_COLUMNS4;
  let tile = workgroup.y * workgroups.x + workgroup.x;
  let first_row4 = tile / column_tiles * TILE_ROWS4;
  let first_column4 = tile % column_tiles * TILE_COLUMNS4;
  let rows4 = params.kernel_height * params.kernel_width * params.in_channels4;
  if (first_row4 >= rows4) { return; }
  let batch = workgroup.z % params.batches;
  let split = workgroup.z / params.batches;
  let pixels = params.images * params.out_height * params.out_width;
  let begin = split * params.pixels_per_split;
  let end = min(begin + params.pixels_per_split, pixels);

  // This thread loads from x: four channels at one tap, for LOADS_X successive pixels of each block.
  let x_row4 = first_row4 + local % TILE_ROWS4;
  let x_k = local / TILE_ROWS4 * LOADS_X;
  let tap = x_row4 / params.in_channels4;
  let c4 = x_row4 % params.in_channels4;
  let ky = i32(tap / params.kernel_width) - i32(params.padding);
  let kx = i32(tap % params.kernel_width) - i32(params.padding);
  let first_image = batch * params.images;
  // It loads from dy: one vec4 of channels of LOADS_DY successive pixels.
  let dy_k = local / TILE_COLUMNS4 * LOADS_DY;
  let dy_column4 = first_column4 + local % TILE_COLUMNS4;

  let one = pixel_of(1u);
  let rest = pixel_of(DEPTH - LOADS_X);
  var at = pixel_of(begin + x_k);
  var next_x: array<vec4f, LOADS_X>;
  var next_dy: array<vec4f, LOADS_DY>;
  var sum: array<array<vec4f, COLUMNS4>, 4u * ROWS4>;

  let tx = local % THREADS_X;
  let ty = local / THREADS_X;
  let blocks = (end - begin + DEPTH - 1u) / DEPTH;
  // Iteration b loads block b and multiplies block b − 1.
  for (var b = 0u; b <= blocks; b++) {
    let first = begin + b * DEPTH;
    for (var l = 0u; l < LOADS_X; l++) { // @unroll
      let r = i32(at.i * params.stride) + ky;
      let s = i32(at.j * params.stride) + kx;
      next_x[l] = vec4f();
      if (first + x_k + l < end && x_row4 < rows4 && r >= 0 && r < i32(params.in_height) && s >= 0 && s < i32(params.in_width)) {
        next_x[l] = vec4f(x[(((first_image + at.n) * params.in_height + u32(r)) * params.in_width + u32(s)) * params.in_channels4 + c4]);
      }
      at = advanced(at, one);
    }
    at = advanced(at, rest);
    for (var l = 0u; l < LOADS_DY; l++) { // @unroll
      let k = first + dy_k + l;
      next_dy[l] = vec4f();
      if (k < end && dy_column4 < params.out_channels4) {
        next_dy[l] = vec4f(dy[(batch * pixels + k) * params.out_channels4 + dy_column4]);
      }
    }

    if (b > 0u) {
      for (var k4 = 0u; k4 < DEPTH / 4u; k4++) {
        for (var d = 0u; d < 4u; d++) { // @unroll
          let k = k4 * 4u + d;
          let left_at = k * TILE_ROWS4 + ty;
          let right_at = k * TILE_COLUMNS4 + tx;
          var other: array<vec4f, COLUMNS4>;
          for (var v = 0u; v < COLUMNS4; v++) { // @unroll
            other[v] = right[right_at + v * THREADS_X];
          }
          for (var g = 0u; g < ROWS4; g++) { // @unroll
            let factor = left[left_at + g * THREADS_Y];
            for (var v = 0u; v < COLUMNS4; v++) { // @unroll
              sum[g * 4u][v] = fma(vec4f(factor.x), other[v], sum[g * 4u][v]);
              sum[g * 4u + 1u][v] = fma(vec4f(factor.y), other[v], sum[g * 4u + 1u][v]);
              sum[g * 4u + 2u][v] = fma(vec4f(factor.z), other[v], sum[g * 4u + 2u][v]);
              sum[g * 4u + 3u][v] = fma(vec4f(factor.w), other[v], sum[g * 4u + 3u][v]);
            }
          }
        }
      }
    }
    if (b == blocks) { break; }
    workgroupBarrier();
    for (var l = 0u; l < LOADS_X; l++) { // @unroll
      left[(x_k + l) * TILE_ROWS4 + local % TILE_ROWS4] = next_x[l];
    }
    for (var l = 0u; l < LOADS_DY; l++) { // @unroll
      right[(dy_k + l) * TILE_COLUMNS4 + local % TILE_COLUMNS4] = next_dy[l];
    }
    workgroupBarrier();
  }

  let first_out = ((params.first_split + split) * params.batches + batch) * rows4 * 4u;
  for (var g = 0u; g < ROWS4; g++) { // @unroll
    let row4 = first_row4 + g * THREADS_Y + ty;
    if (row4 < rows4) {
      for (var q = 0u; q < 4u; q++) { // @unroll
        for (var v = 0u; v < COLUMNS4; v++) { // @unroll
          let o = first_column4 + v * THREADS_X + tx;
          if (o < params.out_channels4) { dw[(first_out + row4 * 4u + q) * params.out_channels4 + o] = stored(sum[g * 4u + q][v]); }
        }
      }
    }
  }
}
