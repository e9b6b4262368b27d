// winograd_weights.wgsl: weight transform of Winograd convolution F(4×4, 3×3), and its transpose for their gradient.
// w: [3, 3, C, O]; U: [36, C, O]; O is a multiple of 4. source is w and destination is U; with GRADIENT, source is U and
// destination is w.
//   U[ξ, c, o] = (G w Gᵀ)[ξ]; FLIP reverses both spatial axes of w
//   with GRADIENT: w[ky, kx, c, o] = (Gᵀ U G)[ky, kx]
// One thread handles four output channels.

// @specialize
const WORKGROUP_SIZE = 64u;
const GRADIENT = false;
const FLIP = false;
// @end

struct Params { count4: u32 }   // C · O / 4
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> destination: array<vec4f>;

alias Three = array<vec4f, 3>;
alias Six = array<vec4f, 6>;

// G w
fn spread(w: Three) -> Six {
  let a = -(w[0] + w[2]) / 6.0;
  let b = w[1] / 6.0;
  let e = w[0] / 24.0 + w[2] / 6.0;
  let f = w[1] / 12.0;
  return Six(0.25 * w[0], a - b, a + b, e + f, e - f, w[2]);
}

// Gᵀ u
fn gather(u: Six) -> Three {
  let a = (u[1] + u[2]) / 6.0;
  let e = u[3] + u[4];
  return Three(0.25 * u[0] - a + e / 24.0, (u[2] - u[1]) / 6.0 + (u[3] - u[4]) / 12.0, e / 6.0 - a + u[5]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.count4) { return; }
  if (GRADIENT) {
    var columns: array<Three, 6>;
    for (var j = 0u; j < 6u; j++) {
      var u: Six;
      for (var i = 0u; i < 6u; i++) { u[i] = source[(6u * i + j) * params.count4 + id.x]; }
      columns[j] = gather(u);
    }
    for (var i = 0u; i < 3u; i++) {
      let row = gather(Six(columns[0][i], columns[1][i], columns[2][i], columns[3][i], columns[4][i], columns[5][i]));
      for (var j = 0u; j < 3u; j++) { destination[(3u * i + j) * params.count4 + id.x] = row[j]; }
    }
  } else {
    var columns: array<Six, 3>;
    for (var j = 0u; j < 3u; j++) {
      var w: Three;
      for (var i = 0u; i < 3u; i++) {
        let tap = select(3u * i + j, 8u - (3u * i + j), FLIP);
        w[i] = source[tap * params.count4 + id.x];
      }
      columns[j] = spread(w);
    }
    for (var i = 0u; i < 6u; i++) {
      let row = spread(Three(columns[0][i], columns[1][i], columns[2][i]));
      for (var j = 0u; j < 6u; j++) { destination[(6u * i + j) * params.count4 + id.x] = row[j]; }
    }
  }
}
