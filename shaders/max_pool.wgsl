// max_pool.wgsl: max-pooling, with the tap of each maximum.
// x: [N, H, W, C], y and tap: [N, Ho, Wo, C], NHWC; pixels outside the image count as −∞.
//   y[n, i, j, c] = max over the window of x;   tap[n, i, j, c] = its index in the window, the first among equals
// One thread computes one element of y at a time, or four neighbouring channels, in a grid-stride loop.

// @specialize
const WORKGROUP_SIZE = 64u;
alias T = f32;    // f16 for f16 storage; vec4f or vec4h: four channels, and `channels` counts vec4s
alias U = u32;    // vec4u for four channels
// @end

struct Params {
  images: u32, in_height: u32, in_width: u32, channels: u32, out_height: u32, out_width: u32,
  size: u32, stride: u32, padding: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<T>;
@group(0) @binding(2) var<storage, read_write> y: array<T>;
@group(0) @binding(3) var<storage, read_write> tap: array<U>;

const NONE = 0xffffffffu;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  let count = params.images * params.out_height * params.out_width * params.channels;
  for (var at = id.x; at < count; at += workgroups.x * WORKGROUP_SIZE) {
    let c = at % params.channels;
    let j = at / params.channels % params.out_width;
    let i = at / params.channels / params.out_width % params.out_height;
    let n = at / params.channels / params.out_width / params.out_height;
    var best = T();
    var which = U(NONE);
    for (var t = 0u; t < params.size * params.size; t++) {
      let r = i32(i * params.stride + t / params.size) - i32(params.padding);
      let s = i32(j * params.stride + t % params.size) - i32(params.padding);
      if (r < 0 || r >= i32(params.in_height) || s < 0 || s >= i32(params.in_width)) { continue; }
      let value = x[((n * params.in_height + u32(r)) * params.in_width + u32(s)) * params.channels + c];
      let better = (value > best) | (which == U(NONE));
      best = select(best, value, better);
      which = select(which, U(t), better);
    }
    y[at] = best;
    tap[at] = which;
  }
}
