// max_pool_gradient.wgsl: gradient of max-pooling.
// dy, tap: [N, Ho, Wo, C], dx: [N, H, W, C], NHWC; tap comes from max_pool.wgsl.
//   dx[n, h, w, c] = Σ dy over the windows whose maximum lies at (h, w)
// One thread computes one element of dx, or four neighbouring channels, from the windows that contain it. No element is
// written by two threads.

// @specialize
const WORKGROUP_SIZE = 64u;
alias T = f32;    // f16 for f16 storage; vec4f or vec4h: four channels, and `channels` counts vec4s
alias V = f32;    // vec4f for four channels
alias U = u32;    // vec4u for four channels
// @end

struct Params {
  images: u32, in_height: u32, in_width: u32, channels: u32, out_height: u32, out_width: u32,
  size: u32, stride: u32, padding: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<T>;
@group(0) @binding(2) var<storage, read> tap: array<U>;
@group(0) @binding(3) var<storage, read_write> dx: array<T>;

// @snippet store = f32
fn stored(v: V) -> T { return v; }
// @end
/* @snippet store = f16
// Overflow becomes +∞, written as bits: WGSL does not define the result of such a conversion.
fn stored(v: f32) -> f16 {
  let infinity = 0x7c00u;
  return select(f16(v), bitcast<vec2h>(infinity).x, (bitcast<u32>(v) & 0x7fffffffu) > 0x477fe000u);
}
@end */
/* @snippet store = f16x4
fn stored(v: vec4f) -> vec4h {
  let infinity = vec2u(0x7c007c00u);
  return select(vec4h(v), bitcast<vec4h>(infinity), (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x477fe000u));
}
@end */

// The windows along one dimension that contain a padded coordinate: first, and one past the last.
fn windows(place: u32, count: u32) -> vec2u {
  let beyond = select(0u, (place - params.size) / params.stride + 1u, place >= params.size);
  return vec2u(beyond, min(place / params.stride + 1u, count));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  let count = params.images * params.in_height * params.in_width * params.channels;
  for (var at = id.x; at < count; at += workgroups.x * WORKGROUP_SIZE) {
    let c = at % params.channels;
    let pixel = at / params.channels;
    let w = pixel % params.in_width + params.padding;
    let h = pixel / params.in_width % params.in_height + params.padding;
    let n = pixel / params.in_width / params.in_height;
    let rows = windows(h, params.out_height);
    let columns = windows(w, params.out_width);
    var sum = V();
    for (var i = rows.x; i < rows.y; i++) {
      for (var j = columns.x; j < columns.y; j++) {
        let taken = (h - i * params.stride) * params.size + w - j * params.stride;
        let source = ((n * params.out_height + i) * params.out_width + j) * params.channels + c;
        sum += select(V(), V(dy[source]), tap[source] == U(taken));
      }
    }
    dx[at] = stored(sum);
  }
}
