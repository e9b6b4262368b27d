// max_pool_gradient.wgsl: dx[n, h, w, c] = Σ dy over the windows whose maximum was taken at (h, w).
//
// dy, tap: [N, Ho, Wo, C], dx: [N, H, W, C], NHWC; tap from max_pool.wgsl. One invocation: one element of dx, so that
// nothing is written by two.

// @specialize
const WORKGROUP_SIZE = 64u;
alias T = f32;    // f16: stored so
// @end

struct Params {
  images: u32, in_height: u32, in_width: u32, channels: u32, out_height: u32, out_width: u32,
  size: u32, stride: u32, padding: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<T>;
@group(0) @binding(2) var<storage, read> tap: array<u32>;
@group(0) @binding(3) var<storage, read_write> dx: array<T>;

// @snippet store = f32
fn stored(v: f32) -> f32 { return v; }
// @end
/* @snippet store = f16
// What f16 cannot hold becomes an infinity, by its bits: WGSL leaves open what the conversion would give.
fn stored(v: f32) -> f16 {
  let infinity = 0x7c00u;
  return select(f16(v), bitcast<vec2h>(infinity).x, (bitcast<u32>(v) & 0x7fffffffu) > 0x477fe000u);
}
@end */

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  let count = params.images * params.in_height * params.in_width * params.channels;
  for (var at = id.x; at < count; at += workgroups.x * WORKGROUP_SIZE) {
    let c = at % params.channels;
    let w = at / params.channels % params.in_width;
    let h = at / params.channels / params.in_width % params.in_height;
    let n = at / params.channels / params.in_width / params.in_height;
    var sum = 0.0;
    for (var t = 0u; t < params.size * params.size; t++) {
      let r = i32(h + params.padding) - i32(t / params.size);
      let s = i32(w + params.padding) - i32(t % params.size);
      if (r < 0 || s < 0 || r % i32(params.stride) != 0 || s % i32(params.stride) != 0) { continue; }
      let i = u32(r) / params.stride;
      let j = u32(s) / params.stride;
      if (i >= params.out_height || j >= params.out_width) { continue; }
      let source = ((n * params.out_height + i) * params.out_width + j) * params.channels + c;
      if (tap[source] == t) { sum += f32(dy[source]); }
    }
    dx[at] = stored(sum);
  }
}
