// winograd_input.wgsl: input transform of Winograd convolution F(4×4, 3×3) (Lavin & Gray 2016).
// x: [N, H, W, C]; v: [36, T, C], with tiles t = (n, i, j) in order; C is a multiple of 4. Pixels of x outside the image
// count as zero.
//   v[ξ, t, c] = (Bᵀ d B)[ξ],   d = the 6×6 pixels of x from (4·i + origin_y, 4·j + origin_x) on,   ξ = 0 … 35
// One thread handles one tile of four channels. It applies Bᵀ to each column of pixels when it loads the column.

// @specialize
const WORKGROUP_SIZE = 64u;
alias In = vec4f;    // vec4h for f16 activations
// @end

struct Params {
  images: u32, in_height: u32, in_width: u32, channels4: u32,
  tiles_y: u32, tiles_x: u32, origin_y: i32, origin_x: i32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<In>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4f>;

alias Six = array<vec4f, 6>;

// Bᵀ d
fn transform(d: Six) -> Six {
  let a = d[4] - 4.0 * d[2];
  let b = d[3] - 4.0 * d[1];
  let e = d[4] - d[2];
  let f = 2.0 * (d[3] - d[1]);
  return Six(4.0 * d[0] - 5.0 * d[2] + d[4], a + b, a - b, e + f, e - f, 4.0 * d[1] - 5.0 * d[3] + d[5]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let tiles = params.images * params.tiles_y * params.tiles_x;
  if (id.x >= tiles * params.channels4) { return; }
  let c = id.x % params.channels4;
  let tile = id.x / params.channels4;
  let top = i32(tile / params.tiles_x % params.tiles_y * 4u) + params.origin_y;
  let left = i32(tile % params.tiles_x * 4u) + params.origin_x;
  let image = tile / params.tiles_x / params.tiles_y * params.in_height;

  var columns: array<Six, 6>;
  for (var j = 0u; j < 6u; j++) {
    let s = left + i32(j);
    var d: Six;
    for (var i = 0u; i < 6u; i++) {
      let r = top + i32(i);
      d[i] = vec4f();   // explicit, because one software driver kept the value of the previous column
      if (r >= 0 && r < i32(params.in_height) && s >= 0 && s < i32(params.in_width)) {
        d[i] = vec4f(x[((image + u32(r)) * params.in_width + u32(s)) * params.channels4 + c]);
      }
    }
    columns[j] = transform(d);
  }
  let plane = tiles * params.channels4;
  for (var i = 0u; i < 6u; i++) {
    let row = transform(Six(columns[0][i], columns[1][i], columns[2][i], columns[3][i], columns[4][i], columns[5][i]));
    for (var j = 0u; j < 6u; j++) { v[(6u * i + j) * plane + id.x] = row[j]; }
  }
}
