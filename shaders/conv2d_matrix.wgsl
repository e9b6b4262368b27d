// conv2d_matrix.wgsl: convolution and matrix product on matrix units, with f16 factors and f32 sums.
//
// x: [N, H, W, C], y: [N, Ho, Wo, O], w: [kh, kw, C, O] (NHWC and HWIO), bias: [O]; C and O are multiples of 4.
// conv2d.wgsl explains the index parameters, conv2d_tiled.wgsl the batches and splits.
//
//   y[n, i·step + y0, j·step + x0, o] = Σ_{t,u,c} x[n, i·stride + origin_y + t·direction, j·stride + origin_x + u·direction, c]
//                                               · w[ky0 + t·tap_step, kx0 + u·tap_step, c, o]  (+ bias[o])
//
// x and w are rounded to f16 while they are staged, unless they are stored in f16. Sums and bias are f32.
//
// A workgroup has 2 × 2 subgroups of LANES threads. A subgroup sums ROWS × COLUMNS matrices of 16×16, so a workgroup
// computes a tile of 32·ROWS rows × 32·COLUMNS columns. For every block of 32 in the depth it stages the rows and columns
// of the tile once in workgroup memory (128×128: 16 KiB for 524,288 multiplications). A subgroup then loads
// ROWS + COLUMNS matrices for ROWS·COLUMNS products. Rows in workgroup memory have 8 numbers of padding, so that the rows
// of a matrix lie in different banks. While a block is multiplied, the next one is loaded from memory into registers.
enable f16, subgroups, chromium_experimental_subgroup_matrix;

// @specialize
const LANES = 32u;
const ROWS = 2u;
const COLUMNS = 2u;
const AT_ONCE = 1u;         // matrices of a row stored through workgroup memory at a time; divides COLUMNS
const HAS_BIAS = false;
alias In = vec4h;          // vec4f for f32 storage
alias Weight = vec4f;
alias Out = vec4h;
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
  depth4_per_split: u32,   // a multiple of 8
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read> w: array<Weight>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<Out>;

const DEPTH = 32u;   // depth of a block
const DEPTH4 = DEPTH / 4u;
const INVOCATIONS = 4u * LANES;
const TILE_ROWS = 32u * ROWS;
const TILE_COLUMNS4 = 8u * COLUMNS;
const LOADS_X = TILE_ROWS * DEPTH4 / INVOCATIONS;      // vec4s of a block that one thread loads
const LOADS_W = TILE_COLUMNS4 * DEPTH / INVOCATIONS;
const LEFT_ROW = DEPTH + 8u;
const RIGHT_ROW = 4u * TILE_COLUMNS4 + 8u;
const STRIP4 = 4u * AT_ONCE;
const OUT_ROW = 4u * STRIP4 + 8u;
const NOWHERE = 0xffffffffu;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sum = subgroup_matrix_result<f32, 16, 16>;

var<workgroup> left: array<f16, TILE_ROWS * LEFT_ROW>;     // left[m][k]
var<workgroup> right: array<f16, DEPTH * RIGHT_ROW>;       // right[k][o]
var<workgroup> strips: array<f32, 64u * OUT_ROW>;          // 16 × 4·STRIP4 results of each subgroup
var<workgroup> pixels: array<u32, TILE_ROWS>;              // the pixel of y for each row of the tile

// @snippet store = f16
// Overflow becomes +∞, written as bits: WGSL does not define the result of such a conversion.
fn stored(v: vec4f) -> vec4h {
  let infinity = vec2u(0x7c007c00u);
  return select(vec4h(v), bitcast<vec4h>(infinity), (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x477fe000u));
}
// @end
/* @snippet store = f32
fn stored(v: vec4f) -> vec4f { return v; }
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
  // Tile numbers run along the columns first, so that tiles that run at the same time read the same rows.
  let column_tiles = (params.out_channels4 + TILE_COLUMNS4 - 1u) / TILE_COLUMNS4;
  let tile = workgroup.y * workgroups.x + workgroup.x;
  let first_row = tile / column_tiles * TILE_ROWS;
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
  // It loads from w: one vec4 of columns at LOADS_W successive k (a multiple of 4).
  let w_k = local / TILE_COLUMNS4 * LOADS_W;
  let w_column4 = first_column4 + local % TILE_COLUMNS4;
  let w_rows = batch * params.kernel_height * params.kernel_width;

  let block = place(DEPTH4);
  let four = place(1u);
  let rest = place(DEPTH4 - LOADS_W / 4u);
  var x_at = place(begin4 + x4);
  var w_at = place(begin4 + w_k / 4u);
  var next_x: array<vec4h, LOADS_X>;
  var next_w: array<vec4h, LOADS_W>;
  var sum: array<array<Sum, COLUMNS>, ROWS>;

  let place = subgroup % 4u;   // so the compiler knows that it is less than 4
  let sub_row = place / 2u * 16u * ROWS;
  let sub_column = place % 2u * 16u * COLUMNS;
  let blocks = (max(end4, begin4) - begin4 + DEPTH4 - 1u) / DEPTH4;
  // Iteration b loads block b and multiplies block b − 1.
  for (var b = 0u; b <= blocks; b++) {
    let from4 = begin4 + b * DEPTH4;
    for (var l = 0u; l < LOADS_X; l++) { // @unroll
      let r = row[l] + i32(x_at.t) * params.direction;
      let s = column[l] + i32(x_at.u) * params.direction;
      next_x[l] = vec4h();
      if (from4 + x4 < end4 && r >= 0 && r < i32(params.in_height) && s >= 0 && s < i32(params.in_width)) {
        next_x[l] = vec4h(x[((image[l] + u32(r)) * params.in_width + u32(s)) * params.in_channels4 + x_at.c4]);
      }
    }
    x_at = advanced(x_at, block);
    for (var l4 = 0u; l4 < LOADS_W / 4u; l4++) { // @unroll
      let tap = (params.ky0 + w_at.t * params.tap_step) * params.kernel_width + params.kx0 + w_at.u * params.tap_step;
      let w_row = ((w_rows + tap) * params.in_channels4 + w_at.c4) * 4u;
      let inside = from4 + w_k / 4u + l4 < end4 && w_column4 < params.out_channels4;
      for (var q = 0u; q < 4u; q++) { // @unroll
        next_w[l4 * 4u + q] = vec4h();
        if (inside) { next_w[l4 * 4u + q] = vec4h(w[(w_row + q) * params.out_channels4 + w_column4]); }
      }
      w_at = advanced(w_at, four);
    }
    w_at = advanced(w_at, rest);

    if (b > 0u) {
      for (var k = 0u; k < DEPTH; k += 16u) { // @unroll
        var factor: array<Left, ROWS>;
        for (var g = 0u; g < ROWS; g++) { // @unroll
          factor[g] = subgroupMatrixLoad<Left, row_major>(&left, (sub_row + 16u * g) * LEFT_ROW + k, LEFT_ROW);
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
      let at = (local / DEPTH4 + l * (INVOCATIONS / DEPTH4)) * LEFT_ROW + x4 * 4u;
      for (var q = 0u; q < 4u; q++) { // @unroll
        left[at + q] = next_x[l][q];
      }
    }
    for (var l = 0u; l < LOADS_W; l++) { // @unroll
      let at = (w_k + l) * RIGHT_ROW + local % TILE_COLUMNS4 * 4u;
      for (var q = 0u; q < 4u; q++) { // @unroll
        right[at + q] = next_w[l][q];
      }
    }
    workgroupBarrier();
  }

  // Results reach memory through workgroup memory, AT_ONCE matrices of every subgroup at a time.
  for (var l = local; l < TILE_ROWS; l += INVOCATIONS) {
    let m = first_row + l;
    let pixel = m % grid;
    let i = pixel / params.grid_width * params.step + params.y0;
    let j = pixel % params.grid_width * params.step + params.x0;
    // workgroup.z counts [splits, batches].
    let at = ((workgroup.z * params.images + m / grid) * params.out_height + i) * params.out_width + j;
    pixels[l] = select(NOWHERE, at, m < rows);
  }
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
        let pixel = pixels[sub_row + 16u * g + r];
        let o = first_column4 + sub_column / 4u + 4u * v + c4;
        if (pixel == NOWHERE || o >= params.out_channels4) { continue; }
        let at = strip + r * OUT_ROW + 4u * c4;
        var value = vec4f(strips[at], strips[at + 1u], strips[at + 2u], strips[at + 3u]);
        if (HAS_BIAS && split == 0u) { value += bias[o]; }
        y[pixel * params.out_channels4 + o] = stored(value);
      }
      workgroupBarrier();
    }
  }
}
