// matmul_direct.wgsl: batched matrix product where subgroups are absent or smaller than 8 lanes.
//
//   c[z, m, n] = Σ_k A[z, m, k] · b[z, k, n]  (+ bias[n]),   A = a or, with TRANSPOSE_A, its transpose (a is [z, k, m])
//
// Row-major. N is a multiple of 4, and so is the dimension along which a is contiguous (K, or M with TRANSPOSE_A).
// With splits > 1 the sum over k is cut: c is then [splits, z, m, n], summed afterwards, in order, by reduce.wgsl.
//
// An invocation holds 4 rows × 4·CHANNELS columns in registers and loads its own part of b.

// @specialize
const WORKGROUP_SIZE = 32u;
const CHANNELS = 4u;
const TRANSPOSE_A = false;
const HAS_BIAS = false;
// @end

struct Params {
  rows: u32, columns4: u32, depth: u32,   // M, N / 4, K
  batches: u32, splits: u32, depth_per_split: u32,   // depth_per_split is a multiple of 4
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let batch = workgroup.z % params.batches;
  let split = workgroup.z / params.batches;
  let row = (workgroup.x * WORKGROUP_SIZE + local) * 4u;
  let column = workgroup.y * CHANNELS;
  let begin = split * params.depth_per_split;
  let end = min(begin + params.depth_per_split, params.depth);

  var sum: array<array<vec4f, CHANNELS>, 4>;
  for (var k = begin; k < end; k += 4u) {
    // four[i]: row row + i along k; with TRANSPOSE_A, rows row … row + 3 at depth k + i.
    var four: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
      four[i] = vec4f();
      if (TRANSPOSE_A) {
        if (row < params.rows && k + i < end) { four[i] = a[((batch * params.depth + k + i) * params.rows + row) / 4u]; }
      } else {
        if (row + i < params.rows) { four[i] = a[((batch * params.rows + row + i) * params.depth + k) / 4u]; }
      }
    }
    for (var d = 0u; d < 4u; d++) {
      for (var v = 0u; v < CHANNELS; v++) {
        let at = min(k + d, params.depth - 1u);
        let other = b[(batch * params.depth + at) * params.columns4 + min(column + v, params.columns4 - 1u)];
        for (var i = 0u; i < 4u; i++) {
          var factor: f32;
          if (TRANSPOSE_A) { factor = four[d][i]; } else { factor = four[i][d]; }
          sum[i][v] = fma(vec4f(factor), other, sum[i][v]);
        }
      }
    }
  }

  for (var i = 0u; i < 4u; i++) {
    if (row + i >= params.rows) { continue; }
    let at = (workgroup.z * params.rows + row + i) * params.columns4 + column;
    for (var v = 0u; v < CHANNELS; v++) {
      if (column + v >= params.columns4) { continue; }
      if (HAS_BIAS && split == 0u) { c[at + v] = sum[i][v] + bias[column + v]; } else { c[at + v] = sum[i][v]; }
    }
  }
}
