// max_pool_gradient.wgsl: dx[n, h, w, c] = Σ dy over the windows whose maximum was taken at (h, w).
//
// dy, tap: [N, Ho, Wo, C], dx: [N, H, W, C], NHWC; tap from max_pool.wgsl. One invocation: one element of dx, or four
// neighbouring channels, so that nothing is written by two. It visits the windows that hold it, and no others.

// @specialize
const WORKGROUP_SIZE = 64u;
alias T = f32;    // f16: stored so; vec4f: four channels, `channels` counts fours
alias V = f32;    // vec4f: likewise
alias U = u32;    // vec4u: likewise
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
// What f16 cannot hold becomes an infinity, by its bits: WGSL leaves open what the conversion would give.
fn stored(v: f32) -> f16 {
  let infinity = 0x7c00u;
  return select(f16(v), bitcast<vec2h>(infinity).x, (bitcast<u32>(v) & 0x7fffffffu) > 0x477fe000u);
}
@end */

// The windows along one dimension that hold a padded place: first, and one past the last.
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
