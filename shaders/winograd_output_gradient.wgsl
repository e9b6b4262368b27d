// winograd_output_gradient.wgsl: transposed output transform of Winograd F(4×4, 3×3), for the gradient of the weights.
// dy: [N, Ho, Wo, O]; m: [36, T, O], with tiles t = (n, i, j) in order; O is a multiple of 4. Pixels of dy outside the
// image count as zero.
//   m[·, t, o] = A d Aᵀ,   d = the 4×4 pixels of dy from (4·i, 4·j) on
// One thread handles one tile of four channels.

// @specialize
const WORKGROUP_SIZE = 64u;
alias In = vec4f;     // vec4h for f16 activations
// @end

struct Params { images: u32, out_height: u32, out_width: u32, channels4: u32, tiles_y: u32, tiles_x: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<In>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4f>;

alias Four = array<vec4f, 4>;
alias Six = array<vec4f, 6>;

// A y
fn spread(y: Four) -> Six {
  let a = y[0] + y[2];
  let b = y[1] + y[3];
  let e = y[0] + 4.0 * y[2];
  let f = 2.0 * y[1] + 8.0 * y[3];
  return Six(y[0], a + b, a - b, e + f, e - f, y[3]);
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

  var columns: array<Six, 4>;
  for (var j = 0u; j < 4u; j++) {
    var g: Four;
    for (var i = 0u; i < 4u; i++) {
      g[i] = vec4f();   // explicit, because one software driver kept the value of the previous column
      if (top + i < params.out_height && left + j < params.out_width) {
        g[i] = vec4f(dy[(corner + i * params.out_width + j) * params.channels4 + o]);
      }
    }
    columns[j] = spread(g);
  }
  for (var i = 0u; i < 6u; i++) {
    let row = spread(Four(columns[0][i], columns[1][i], columns[2][i], columns[3][i]));
    for (var j = 0u; j < 6u; j++) { m[(6u * i + j) * plane + id.x] = row[j]; }
  }
}
