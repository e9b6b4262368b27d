/**
 * Matrix units emulated in plain WGSL, for adapters without them. The subgroup matrices in the kernels' texts are
 * replaced according to their definition. Lane l of 32 holds row l / 2 and columns 8·(l % 2) … + 7 of a result. A
 * factor is represented by its place in workgroup memory, which does not change before the factor is used.
 */
const definitions = `
var<private> emulated_lane: u32;
struct Left { at: u32, along: u32 }
struct Right { at: u32, along: u32 }
struct Sum { low: vec4f, high: vec4f }
fn load_left_row_major(offset: u32, stride: u32) -> Left { return Left(offset + emulated_lane / 2u * stride, 1u); }
fn load_left_col_major(offset: u32, stride: u32) -> Left { return Left(offset + emulated_lane / 2u, stride); }
fn load_right_row_major(offset: u32, stride: u32) -> Right { return Right(offset + emulated_lane % 2u * 8u, stride); }
fn multiply_accumulate(a: Left, b: Right, sum: Sum) -> Sum {
  var m = sum;
  for (var k = 0u; k < 16u; k++) {
    let factor = f32(left[a.at + k * a.along]);
    let at = b.at + k * b.along;
    m.low += factor * vec4f(vec4h(right[at], right[at + 1u], right[at + 2u], right[at + 3u]));
    m.high += factor * vec4f(vec4h(right[at + 4u], right[at + 5u], right[at + 6u], right[at + 7u]));
  }
  return m;
}
fn store_row_major(offset: u32, m: Sum, stride: u32) {
  let at = offset + emulated_lane / 2u * stride + emulated_lane % 2u * 8u;
  for (var c = 0u; c < 4u; c++) {
    strips[at + c] = m.low[c];
    strips[at + 4u + c] = m.high[c];
  }
}
`

/** A kernel's text with the matrices emulated; throws if the text uses something that is not emulated. */
export function emulated(text: string): string {
  const plain = text
    .replace(/ \/\/ @unroll$/gm, '')
    .replace(/^enable .*$/m, 'enable f16;')
    .replace(/^alias (Left|Right|Sum) = subgroup_matrix_.*\n/gm, '')
    .replace(/ *@builtin\((subgroup_id|subgroup_invocation_id)\).*\n/g, '')
    .replace(/^(\) \{\n)/m, '$1  let subgroup = local / LANES;\n  let lane = local % LANES;\n  emulated_lane = lane;\n')
    .replace(/^(var<workgroup> left)/m, `${definitions}\n$1`)
    .replace(/subgroupMatrixLoad<(Left|Right), (\w+)>\(&(\w+), /g, (_, type: string, order: string, from: string) => {
      if (from !== type.toLowerCase()) throw new Error(`a matrix ${type} is loaded from ${from}`)
      return `load_${from}_${order}(`
    })
    .replace(/subgroupMatrixStore<row_major>\(&strips, /g, 'store_row_major(')
    .replace(/subgroupMatrixMultiplyAccumulate\(/g, 'multiply_accumulate(')
    // The driver must not unroll these loops, because each kernel would then take seconds to compile.
    .replace(/^( *for \(var (\w+) = 0u; \2 < )([^;]+)/gm, '$1($3) + (params.batches >> 31u)')
  const left = /subgroup_?[mM]atrix\w*/.exec(plain.replace(/\/\/.*$/gm, ''))
  if (left) throw new Error(`not emulated: ${left[0]}`)
  return plain
}
