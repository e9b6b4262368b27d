// conv2d_tiled.wgsl: convolution and matrix product as an implicit GEMM in workgroup memory.
//
// x: [N, H, W, C], y: [N, Ho, Wo, O], w: [kh, kw, C, O] (NHWC and HWIO), bias: [O]; C and O are multiples of 4.
// conv2d.wgsl explains the index parameters.
//
//   y[n, i·step + y0, j·step + x0, o] = Σ_{t,u,c} x[n, i·stride + origin_y + t·direction, j·stride + origin_x + u·direction, c]
//                                               · w[ky0 + t·tap_step, kx0 + u·tap_step, c, o]  (+ bias[o])
//
// As a product it has rows m = (n, i, j), depth k = (t, u, c) and columns o. A matrix product c = a·b is the 1×1
// convolution of an image of M × 1 pixels and K channels; `batches` products lie one after another in x, w and y. If the
// sum over k is cut into splits, y is [splits, batches, …], and reduce4.wgsl adds the splits in order.
//
// A workgroup computes a tile of 4·ROWS4·THREADS_Y rows × 4·COLUMNS4·THREADS_X columns, a thread 4·ROWS4 × 4·COLUMNS4 of
// it in registers. For every block of 16 in the depth the workgroup stages the rows and columns of the tile once in
// workgroup memory (128×128: 16 KiB for 262,144 multiplications). A thread then reads ROWS4 + COLUMNS4 vec4s for
// 16·ROWS4·COLUMNS4 multiplications. While a block is multiplied, the next one is loaded from memory into registers.

// @specialize
const THREADS_X = 16u;     // THREADS_X · THREADS_Y: 64 to 256
const THREADS_Y = 16u;
const ROWS4 = 1u;
const COLUMNS4 = 1u;
const HAS_BIAS = false;
alias In = vec4f;          // vec4h for f16 storage
alias Weight = vec4f;
alias Out = vec4f;
// @end

struct Params {
  images: u32,        // N of this dispatch
  in_height: u32, in_width: u32, in_channels4: u32,      // C / 4
  out_height: u32, out_width: u32, out_channels4: u32,   // O / 4
  grid_height: u32, grid_width: u32,                     // i and j run over this grid
  step: u32, y0: u32, x0: u32,
  stride: u32, origin_y: i32, origin_x: i32, direction: i32,
  taps_y: u32, taps_x: u32, ky0: u32, kx0: u32, tap_step: u32, kernel_height: u32, kernel_width: u32,
  batches: u32,
  depth4_per_split: u32,   // a multiple of 4
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read> w: array<Weight>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<Out>;

const DEPTH = 16u;   // depth of a block
const DEPTH4 = DEPTH / 4u;
const INVOCATIONS = THREADS_X * THREADS_Y;
const TILE_ROWS4 = ROWS4 * THREADS_Y;
const TILE_COLUMNS4 = COLUMNS4 * THREADS_X;
const LOADS_X = TILE_ROWS4 * DEPTH / INVOCATIONS;      // vec4s of a block that one thread loads
const LOADS_W = TILE_COLUMNS4 * DEPTH / INVOCATIONS;

// left[m][k / 4], as in memory: a thread reads four k of a row at once. k / 4 is rotated by m / 2, so that eight
// successive rows lie in different banks. (XORed, the compiler would not see that the index is within the array.)
var<workgroup> left: array<vec4f, 4u * TILE_ROWS4 * DEPTH4>;
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

// A position in the depth: four channels (c / 4) at tap (t, u).
struct Place { t: u32, u: u32, c4: u32 }

fn place(depth4: u32) -> Place {
  let tap = depth4 / params.in_channels4;
  return Place(tap / params.taps_x, tap % params.taps_x, depth4 % params.in_channels4);
}

// Moves on by less than a whole depth, with additions and carries: divisions in every block cost far more.
fn advanced(at: Place, by: Place) -> Place {
  var c4 = at.c4 + by.c4;
  var u = at.u + by.u;
  var t = at.t + by.t;
  if (c4 >= params.in_channels4) { c4 -= params.in_channels4; u++; }
  if (u >= params.taps_x) { u -= params.taps_x; t++; }
  return Place(t, u, c4);
}

@compute @workgroup_size(INVOCATIONS)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  // Tile numbers run along the columns first, so that tiles that run at the same time read the same rows.
  let column_tiles = (params.out_channels4 + TILE_COLUMNS4 - 1u) / TILE_COLUMNS4;
  let tile = workgroup.y * workgroups.x + workgroup.x;
  let first_row = tile / column_tiles * TILE_ROWS4 * 4u;
  let first_column4 = tile % column_tiles * TILE_COLUMNS4;
  let grid = params.grid_height * params.grid_width;
  let rows = params.images * grid;
  if (first_row >= rows) { return; }
  let batch = workgroup.z % params.batches;
  let split = workgroup.z / params.batches;
  let depth4 = params.taps_y * params.taps_x * params.in_channels4;
  let begin4 = split * params.depth4_per_split;
  let end4 = min(begin4 + params.depth4_per_split, depth4);

  // This thread loads from x: four channels of LOADS_X rows, at a position in the depth that moves on from block to block.
  let x4 = local % DEPTH4;
  var row: array<i32, LOADS_X>;      // row in the image, for tap (0, 0)
  var column: array<i32, LOADS_X>;
  var image: array<u32, LOADS_X>;    // first row of pixels of the image
  for (var l = 0u; l < LOADS_X; l++) { // @unroll
    let m = first_row + local / DEPTH4 + l * (INVOCATIONS / DEPTH4);
    let pixel = m % grid;
    row[l] = select(-0x10000000, i32(pixel / params.grid_width * params.stride) + params.origin_y, m < rows);
    column[l] = i32(pixel % params.grid_width * params.stride) + params.origin_x;
    image[l] = (batch * params.images + m / grid) * params.in_height;
  }
  // It loads from w: one vec4 of columns at LOADS_W successive k.
  let w_k = local / TILE_COLUMNS4 * LOADS_W;
  let w_column4 = first_column4 + local % TILE_COLUMNS4;
  let w_rows = batch * params.kernel_height * params.kernel_width;

  let block = place(DEPTH4);
  var x_at = place(begin4 + x4);
  var w_at = place(begin4 + w_k / 4u);
  var next_x: array<vec4f, LOADS_X>;
  var next_w: array<vec4f, LOADS_W>;
  var sum: array<array<vec4f, COLUMNS4>, 4u * ROWS4>;

  let tx = local % THREADS_X;
  let ty = local / THREADS_X;
  let blocks = (max(end4, begin4) - begin4 + DEPTH4 - 1u) / DEPTH4;
  // Iteration b loads block b and multiplies block b − 1.
  for (var b = 0u; b <= blocks; b++) {
    let from4 = begin4 + b * DEPTH4;
    for (var l = 0u; l < LOADS_X; l++) { // @unroll
      let r = row[l] + i32(x_at.t) * params.direction;
      let s = column[l] + i32(x_at.u) * params.direction;
      next_x[l] = vec4f();
      if (from4 + x4 < end4 && r >= 0 && r < i32(params.in_height) && s >= 0 && s < i32(params.in_width)) {
        next_x[l] = vec4f(x[((image[l] + u32(r)) * params.in_width + u32(s)) * params.in_channels4 + x_at.c4]);
      }
    }
    let tap = (params.ky0 + w_at.t * params.tap_step) * params.kernel_width + params.kx0 + w_at.u * params.tap_step;
    let w_row = ((w_rows + tap) * params.in_channels4 + w_at.c4) * 4u + w_k % 4u;
    for (var l = 0u; l < LOADS_W; l++) { // @unroll
      next_w[l] = vec4f();
      if (from4 + w_k / 4u < end4 && w_column4 < params.out_channels4) {
        next_w[l] = vec4f(w[(w_row + l) * params.out_channels4 + w_column4]);
      }
    }
    x_at = advanced(x_at, block);
    w_at = advanced(w_at, block);

    if (b > 0u) {
      for (var k4 = 0u; k4 < DEPTH4; k4++) {
        var other: array<array<vec4f, COLUMNS4>, 4>;
        for (var d = 0u; d < 4u; d++) { // @unroll
          for (var v = 0u; v < COLUMNS4; v++) { // @unroll
            other[d][v] = right[(k4 * 4u + d) * TILE_COLUMNS4 + v * THREADS_X + tx];
          }
        }
        for (var q = 0u; q < 4u * ROWS4; q++) { // @unroll
          let factor = left[(q * THREADS_Y + ty) * DEPTH4 + (k4 + ty / 2u) % DEPTH4];
          for (var v = 0u; v < COLUMNS4; v++) { // @unroll
            sum[q][v] = fma(vec4f(factor.x), other[0][v], sum[q][v]);
            sum[q][v] = fma(vec4f(factor.y), other[1][v], sum[q][v]);
            sum[q][v] = fma(vec4f(factor.z), other[2][v], sum[q][v]);
            sum[q][v] = fma(vec4f(factor.w), other[3][v], sum[q][v]);
          }
        }
      }
    }
    if (b == blocks) { break; }
    workgroupBarrier();
    for (var l = 0u; l < LOADS_X; l++) { // @unroll
      let m = local / DEPTH4 + l * (INVOCATIONS / DEPTH4);
      left[m * DEPTH4 + (x4 + m / 2u) % DEPTH4] = next_x[l];
    }
    for (var l = 0u; l < LOADS_W; l++) { // @unroll
      right[(w_k + l) * TILE_COLUMNS4 + local % TILE_COLUMNS4] = next_w[l];
    }
    workgroupBarrier();
  }

  let first_image = workgroup.z * params.images;   // workgroup.z counts [splits, batches]
  for (var q = 0u; q < 4u * ROWS4; q++) { // @unroll
    let m = first_row + q * THREADS_Y + ty;
    if (m < rows) {
      let pixel = m % grid;
      let i = pixel / params.grid_width * params.step + params.y0;
      let j = pixel % params.grid_width * params.step + params.x0;
      let at = (((first_image + m / grid) * params.out_height + i) * params.out_width + j) * params.out_channels4;
      for (var v = 0u; v < COLUMNS4; v++) { // @unroll
        let o = first_column4 + v * THREADS_X + tx;
        if (o < params.out_channels4) {
          var value = sum[q][v];
          if (HAS_BIAS && split == 0u) { value += bias[o]; }
          y[at + o] = stored(value);
        }
      }
    }
  }
}
