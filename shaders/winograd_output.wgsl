// winograd_output.wgsl: output transform of Winograd convolution F(4×4, 3×3).
// m: [36, T, O], with tiles t = (n, i, j) in order; y: [N, Ho, Wo, O]; O is a multiple of 4.
//   the 4×4 pixels of y from (4·i, 4·j) on = Aᵀ m[·, t, o] A  (+ bias[o])
// One thread handles one tile of four channels.

// @specialize
const WORKGROUP_SIZE = 64u;
const HAS_BIAS = false;
alias Out = vec4f;    // vec4h for f16 activations
// @end

struct Params { images: u32, out_height: u32, out_width: u32, channels4: u32, tiles_y: u32, tiles_x: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> m: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<Out>;

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

alias Four = array<vec4f, 4>;
alias Six = array<vec4f, 6>;

// Aᵀ m
fn gather(m: Six) -> Four {
  let a = m[1] + m[2];
  let b = m[1] - m[2];
  let e = m[3] + m[4];
  let f = m[3] - m[4];
  return Four(m[0] + a + e, b + 2.0 * f, a + 4.0 * e, b + 8.0 * f + m[5]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let tiles = params.images * params.tiles_y * params.tiles_x;
  if (id.x >= tiles * params.channels4) { return; }
  let o = id.x % params.channels4;
  let tile = id.x / params.channels4;
  let top = tile / params.tiles_x % params.tiles_y * 4u;
  let left = tile % params.tiles_x * 4u;
  let corner = ((tile / params.tiles_x / params.tiles_y * params.out_height + top) * params.out_width + left);
  let plane = tiles * params.channels4;

  var columns: array<Four, 6>;
  for (var j = 0u; j < 6u; j++) {
    var six: Six;
    for (var i = 0u; i < 6u; i++) { six[i] = m[(6u * i + j) * plane + id.x]; }
    columns[j] = gather(six);
  }
  for (var i = 0u; i < 4u; i++) {
    if (top + i >= params.out_height) { break; }
    let row = gather(Six(columns[0][i], columns[1][i], columns[2][i], columns[3][i], columns[4][i], columns[5][i]));
    for (var j = 0u; j < 4u; j++) {
      if (left + j < params.out_width) {
        let at = (corner + i * params.out_width + j) * params.channels4 + o;
        if (HAS_BIAS) { y[at] = stored(row[j] + bias[o]); } else { y[at] = stored(row[j]); }
      }
    }
  }
}
