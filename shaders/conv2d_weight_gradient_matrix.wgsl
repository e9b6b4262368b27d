// conv2d_weight_gradient_matrix.wgsl: gradient of a convolution in its weights, and product aᵀ·b, on matrix units.
//
// x: [batches, N, H, W, C], dy: [batches, N, Ho, Wo, O], dw: [splits, batches, kh, kw, C, O]; C and O are multiples of 4.
// conv2d_weight_gradient_tiled.wgsl explains rows, depth, batches and splits.
//
//   dw[s, z, ky, kx, c, o] = Σ over the output pixels (n, i, j) of split s of
//                            x[z, n, i·stride + ky − padding, j·stride + kx − padding, c] · dy[z, n, i, j, o]
//
// x and dy are rounded to f16 while they are staged, unless they are stored in f16. Sums are f32.
//
// A workgroup has 2 × 2 subgroups of LANES threads. A subgroup sums ROWS × COLUMNS matrices of 16×16, so a workgroup
// computes a tile of 32·ROWS rows × 32·COLUMNS columns. For every block of 32 pixels it stages the rows and columns of the
// tile once in workgroup memory (128×128: 16 KiB for 524,288 multiplications), in their order in memory; left matrices are
// read by columns. Rows in workgroup memory have 8 numbers of padding, so that the rows of a matrix lie in different
// banks. While a block is multiplied, the next one is loaded from memory into registers.
enable f16, subgroups, chromium_experimental_subgroup_matrix;

// @specialize
const LANES = 32u;
const ROWS = 2u;
const COLUMNS = 2u;
const AT_ONCE = 1u;         // matrices of a row stored through workgroup memory at a time; divides COLUMNS
alias In = vec4h;          // vec4f for f32 storage
alias Gradient = vec4h;
alias Out = vec4f;
// @end

struct Params {
  images: u32, in_height: u32, in_width: u32, in_channels4: u32,
  out_height: u32, out_width: u32, out_channels4: u32,
  stride: u32, padding: u32, kernel_height: u32, kernel_width: u32,
  batches: u32,
  pixels_per_split: u32,   // a multiple of 32
  first_split: u32,        // first split of this dispatch in dw
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read> dy: array<Gradient>;
@group(0) @binding(3) var<storage, read_write> dw: array<Out>;

const DEPTH = 32u;   // pixels of a block
const INVOCATIONS = 4u * LANES;
const TILE_ROWS4 = 8u * ROWS;
const TILE_COLUMNS4 = 8u * COLUMNS;
const LOADS_X = TILE_ROWS4 * DEPTH / INVOCATIONS;      // vec4s of a block that one thread loads
const LOADS_DY = TILE_COLUMNS4 * DEPTH / INVOCATIONS;
const LEFT_ROW = 4u * TILE_ROWS4 + 8u;
const RIGHT_ROW = 4u * TILE_COLUMNS4 + 8u;
const STRIP4 = 4u * AT_ONCE;
const OUT_ROW = 4u * STRIP4 + 8u;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sum = subgroup_matrix_result<f32, 16, 16>;

var<workgroup> left: array<f16, DEPTH * LEFT_ROW>;         // left[k][m]
var<workgroup> right: array<f16, DEPTH * RIGHT_ROW>;       // right[k][o]
var<workgroup> strips: array<f32, 64u * OUT_ROW>;          // 16 × 4·STRIP4 results of each subgroup

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

// @snippet lanes = given
// @end
/* @snippet lanes = requested
@subgroup_size(LANES)
@end */
@compute @workgroup_size(INVOCATIONS)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
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
  var next_x: array<vec4h, LOADS_X>;
  var next_dy: array<vec4h, LOADS_DY>;
  var sum: array<array<Sum, COLUMNS>, ROWS>;

  let place = subgroup % 4u;   // so the compiler knows that it is less than 4
  let sub_row = place / 2u * 16u * ROWS;
  let sub_column = place % 2u * 16u * COLUMNS;
  let blocks = (end - begin + DEPTH - 1u) / DEPTH;
  // Iteration b loads block b and multiplies block b − 1.
  for (var b = 0u; b <= blocks; b++) {
    let first = begin + b * DEPTH;
    for (var l = 0u; l < LOADS_X; l++) { // @unroll
      let r = i32(at.i * params.stride) + ky;
      let s = i32(at.j * params.stride) + kx;
      next_x[l] = vec4h();
      if (first + x_k + l < end && x_row4 < rows4 && r >= 0 && r < i32(params.in_height) && s >= 0 && s < i32(params.in_width)) {
        next_x[l] = vec4h(x[(((first_image + at.n) * params.in_height + u32(r)) * params.in_width + u32(s)) * params.in_channels4 + c4]);
      }
      at = advanced(at, one);
    }
    at = advanced(at, rest);
    for (var l = 0u; l < LOADS_DY; l++) { // @unroll
      let k = first + dy_k + l;
      next_dy[l] = vec4h();
      if (k < end && dy_column4 < params.out_channels4) {
        next_dy[l] = vec4h(dy[(batch * pixels + k) * params.out_channels4 + dy_column4]);
      }
    }

    if (b > 0u) {
      for (var k = 0u; k < DEPTH; k += 16u) { // @unroll
        var factor: array<Left, ROWS>;
        for (var g = 0u; g < ROWS; g++) { // @unroll
          factor[g] = subgroupMatrixLoad<Left, col_major>(&left, k * LEFT_ROW + sub_row + 16u * g, LEFT_ROW);
        }
        for (var v = 0u; v < COLUMNS; v++) { // @unroll
          let other = subgroupMatrixLoad<Right, row_major>(&right, k * RIGHT_ROW + sub_column + 16u * v, RIGHT_ROW);
          for (var g = 0u; g < ROWS; g++) { // @unroll
            sum[g][v] = subgroupMatrixMultiplyAccumulate(factor[g], other, sum[g][v]);
          }
        }
      }
    }
    if (b == blocks) { break; }
    workgroupBarrier();
    for (var l = 0u; l < LOADS_X; l++) { // @unroll
      let to = (x_k + l) * LEFT_ROW + local % TILE_ROWS4 * 4u;
      for (var q = 0u; q < 4u; q++) { // @unroll
        left[to + q] = next_x[l][q];
      }
    }
    for (var l = 0u; l < LOADS_DY; l++) { // @unroll
      let to = (dy_k + l) * RIGHT_ROW + local % TILE_COLUMNS4 * 4u;
      for (var q = 0u; q < 4u; q++) { // @unroll
        right[to + q] = next_dy[l][q];
      }
    }
    workgroupBarrier();
  }

  // Results reach memory through workgroup memory, AT_ONCE matrices of every subgroup at a time.
  let first_out = ((params.first_split + split) * params.batches + batch) * rows4 * 4u;
  let strip = place * 16u * OUT_ROW;
  for (var g = 0u; g < ROWS; g++) { // @unroll
    for (var v = 0u; v < COLUMNS; v += AT_ONCE) { // @unroll
      for (var p = 0u; p < AT_ONCE; p++) { // @unroll
        subgroupMatrixStore<row_major>(&strips, strip + 16u * p, sum[g][v + p], OUT_ROW);
      }
      workgroupBarrier();
      for (var e = lane; e < 16u * STRIP4; e += LANES) {
        let r = e / STRIP4;
        let c4 = e % STRIP4;
        let row = first_row4 * 4u + sub_row + 16u * g + r;
        let o = first_column4 + sub_column / 4u + 4u * v + c4;
        if (row >= rows4 * 4u || o >= params.out_channels4) { continue; }
        let place = strip + r * OUT_ROW + 4u * c4;
        let value = vec4f(strips[place], strips[place + 1u], strips[place + 2u], strips[place + 3u]);
        dw[(first_out + row) * params.out_channels4 + o] = stored(value);
      }
      workgroupBarrier();
    }
  }
}
