// augment_blur.wgsl: Gaussian blur of the views from augment.wgsl, then solarise and normalise.
//   x, y   [views, size, size, 4] f32, NHWC
//   rows   [views, 32] f32, the rows of augment.wgsl
//   y(p) = sum_k w(k) x(p + k) / sum_k w(k),   w(k) = exp(-k^2 / (2 sigma^2)),   |k| <= reach
// The edges are mirrored without repeating the edge pixel. A row with sigma = 0 is not blurred.
// The Gaussian is separable: the first pass runs along the lines, the second (DOWN) along the columns. The second pass
// also solarises and normalises, as augment.wgsl does with FINISH. One thread computes one pixel.

// @specialize
const WORKGROUP_SIZE = 64u;
const DOWN = false;
// @end

struct Params {
  views: u32,
  size: u32,
  reach: i32,
  mean_red: f32,
  mean_green: f32,
  mean_blue: f32,
  std_red: f32,
  std_green: f32,
  std_blue: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> rows: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

const ROW_FLOATS = 32u;
const SOLARIZE_FROM = 5u;
const SIGMA = 6u;

fn blur(pixel: u32, place: i32, stride: i32, sigma: f32) -> vec3f {
  let last = i32(params.size) - 1;
  let first_pixel = i32(pixel) - place * stride;
  var sum = vec3f(0.0);
  var total = 0.0;
  for (var k = -params.reach; k <= params.reach; k++) {
    let distance = f32(k) / sigma;
    let weight = exp(-0.5 * distance * distance);
    let mirrored = last - abs(last - abs(place + k));
    sum += weight * x[u32(first_pixel + mirrored * stride)].rgb;
    total += weight;
  }
  return sum / total;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let size = params.size;
  let mean = vec3f(params.mean_red, params.mean_green, params.mean_blue);
  let deviation = vec3f(params.std_red, params.std_green, params.std_blue);
  for (var pixel = id.x; pixel < params.views * size * size; pixel += groups.x * WORKGROUP_SIZE) {
    let row = ROW_FLOATS * (pixel / (size * size));
    let sigma = rows[row + SIGMA];
    var color = x[pixel].rgb;
    if sigma > 0.0 {
      let place = select(pixel % size, pixel / size % size, DOWN);
      color = blur(pixel, i32(place), select(1, i32(size), DOWN), sigma);
    }
    if DOWN {
      color = select(color, 1.0 - color, color >= vec3f(rows[row + SOLARIZE_FROM]));
      color = (color - mean) / deviation;
    }
    y[pixel] = vec4f(color, 0.0);
  }
}
