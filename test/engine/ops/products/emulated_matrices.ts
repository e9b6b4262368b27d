/**
 * Matrix units in plain WGSL, for adapters that have none: the kernels' own texts with the subgroup matrices swapped
 * for what they are defined to be. Lane l of 32 holds row l / 2 and columns 8·(l % 2) … + 7 of a result; a factor is
 * where it lies in workgroup memory, which does not change before it is used.
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

/** A kernel's text with the matrices emulated; throws where something of it is not known here. */
export function emulated(text: string): string {
  const plain = text
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
    // Loops of a length that the driver does not know stay loops: unrolled, they take it seconds a kernel to compile.
    .replace(/^( *for \(var (\w+) = 0u; \2 < )([^;]+)/gm, '$1($3) + (params.batches >> 31u)')
  const left = /subgroup_?[mM]atrix\w*/.exec(plain.replace(/\/\/.*$/gm, ''))
  if (left) throw new Error(`not emulated: ${left[0]}`)
  return plain
}
