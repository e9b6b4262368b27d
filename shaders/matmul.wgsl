// matmul.wgsl: batched matrix product in registers.
//
// a: [z, M, K] or, with TRANSPOSE_A, [z, K, M]; b: [z, K, N]; bias: [N]; c: [z, M, N]; row-major. N is a multiple of 4, and
// so is the last dimension of a.
//
//   c[z, m, n] = Σ_k A[z, m, k] · b[z, k, n]  (+ bias[n]),   A = a or, with TRANSPOSE_A, its transpose
//
// With splits > 1 the sum over k is cut, c is [splits, z, M, N], and reduce.wgsl adds the splits in order.
//
// A thread holds 4 rows × 4·CHANNELS columns in registers. The lanes of a subgroup compute the same columns.
// right = shuffled: each lane loads a different vec4 of b, and shuffles exchange them.
// right = direct: each lane loads all of them itself, for adapters without subgroups of at least 8 lanes.
enable subgroups;

// @specialize
const WORKGROUP_SIZE = 32u;
const CHANNELS = 4u;
const TRANSPOSE_A = false;
const HAS_BIAS = false;
alias Left = vec4f;    // vec4h for f16 storage
alias Right = vec4f;
alias Out = vec4f;
// @end

struct Params {
  rows: u32, columns4: u32, depth: u32,   // M, N / 4, K
  batches: u32, splits: u32, depth_per_split: u32,   // depth_per_split is a multiple of 4
  // This product may be a block of a larger one. A row of a has a_columns numbers, and the block reads from a_first on.
  // A row of c has c_columns4 vec4s, and the block writes from c_first4 on. Its splits start at first_split.
  a_columns: u32, a_first: u32, c_columns4: u32, c_first4: u32, first_split: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Left>;
@group(0) @binding(2) var<storage, read> b: array<Right>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> c: array<Out>;

// Four rows of b from k on, for 4·CHANNELS columns.
// @snippet right = shuffled
alias Held = array<vec4f, CHANNELS / 2u>;
fn hold(batch: u32, k: u32, column: u32, lane: u32) -> Held {
  var held: Held;
  for (var l = 0u; l < CHANNELS / 2u; l++) {
    let q = l * 8u + lane;
    let at = batch * params.depth + min(k + q / CHANNELS, params.depth - 1u);
    held[l] = vec4f(b[at * params.columns4 + min(column + q % CHANNELS, params.columns4 - 1u)]);
  }
  return held;
}
fn right(held: ptr<function, Held>, d: u32, v: u32) -> vec4f {
  let q = d * CHANNELS + v;
  return subgroupShuffle((*held)[q / 8u], q % 8u);
}
// @end
/* @snippet right = direct
struct Held { batch: u32, k: u32, column: u32 }
fn hold(batch: u32, k: u32, column: u32, lane: u32) -> Held { return Held(batch, k, column); }
fn right(held: ptr<function, Held>, d: u32, v: u32) -> vec4f {
  let at = (*held).batch * params.depth + min((*held).k + d, params.depth - 1u);
  return vec4f(b[at * params.columns4 + min((*held).column + v, params.columns4 - 1u)]);
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

// Adds to 4 rows × `WIDTH` vec4s of the result, from `first` on. The outer loop runs over these vec4s, so that only four
// sums are in registers at a time.
const WIDTH = min(CHANNELS, 4u);
alias Block = array<array<vec4f, 4>, WIDTH>;
fn accumulate(sum: ptr<function, Block>, four: ptr<function, array<vec4f, 4>>, held: ptr<function, Held>, first: u32) {
  for (var v = 0u; v < WIDTH; v++) {
    for (var d = 0u; d < 4u; d++) {
      let other = right(held, d, first + v);
      for (var i = 0u; i < 4u; i++) {
        var factor: f32;
        if (TRANSPOSE_A) { factor = (*four)[d][i]; } else { factor = (*four)[i][d]; }
        (*sum)[v][i] = fma(vec4f(factor), other, (*sum)[v][i]);
      }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) local: u32,
  // @snippet right = shuffled
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
  // @end
) {
  // @snippet right = shuffled
  let lane = subgroup_lane % 8u;   // groups of eight lanes exchange columns, whatever the subgroup size
  // @end
  /* @snippet right = direct
  let lane = 0u;
  @end */
  let batch = workgroup.z % params.batches;
  let split = workgroup.z / params.batches;
  let row = (workgroup.x * WORKGROUP_SIZE + local) * 4u;
  let column = workgroup.y * CHANNELS;
  let begin = split * params.depth_per_split;
  let end = min(begin + params.depth_per_split, params.depth);

  var sum: Block;
  var more: Block;   // second half for CHANNELS = 8: drivers do not unroll one loop over both halves
  for (var k = begin; k < end; k += 4u) {
    // four[i]: row row + i along k; with TRANSPOSE_A, rows row … row + 3 at depth k + i.
    var four: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
      four[i] = vec4f();
      if (TRANSPOSE_A) {
        if (row < params.rows && k + i < end) { four[i] = vec4f(a[((batch * params.depth + k + i) * params.a_columns + params.a_first + row) / 4u]); }
      } else {
        if (row + i < params.rows) { four[i] = vec4f(a[((batch * params.rows + row + i) * params.a_columns + params.a_first + k) / 4u]); }
      }
    }
    var held = hold(batch, k, column, lane);
    accumulate(&sum, &four, &held, 0u);
    if (CHANNELS > 4u) { accumulate(&more, &four, &held, 4u); }
  }

  for (var i = 0u; i < 4u; i++) {
    if (row + i >= params.rows) { continue; }
    let part = params.first_split * params.batches + workgroup.z;
    let at = (part * params.rows + row + i) * params.c_columns4 + params.c_first4 + column;
    for (var v = 0u; v < CHANNELS; v++) {
      if (column + v >= params.columns4) { continue; }
      var total: vec4f;
      if (v < WIDTH) { total = sum[v % WIDTH][i]; } else { total = more[v % WIDTH][i]; }
      if (HAS_BIAS && params.first_split + split == 0u) { c[at + v] = stored(total + bias[column + v]); } else { c[at + v] = stored(total); }
    }
  }
}
