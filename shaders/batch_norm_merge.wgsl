// batch_norm_merge.wgsl: combines the statistics of strips into mean, variance, gain and offset.
// partial: [groups, strips, 2, C] from batch_norm_statistics.wgsl; scale, shift: [C]; the outputs: [groups, C].
//   mean[g, c], variance[g, c] = Σ (x − mean)² / (n − correction)
//   gain[g, c] = scale[c] / √(variance + epsilon),  offset[g, c] = shift[c] − mean · gain    so that y = x · gain + offset
// Strips are merged one after another in a fixed order (Chan et al. 1979). One thread handles one vec4 of channels of
// one group.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { groups: u32, rows: u32, channels4: u32, strip: u32, strips: u32, epsilon: f32, correction: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4f>;
@group(0) @binding(2) var<storage, read> scale: array<vec4f>;
@group(0) @binding(3) var<storage, read> shift: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> mean: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> variance: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> gain: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> offset: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.groups * params.channels4) { return; }
  let c = id.x % params.channels4;
  let g = id.x / params.channels4;
  var count = 0.0;
  var m = vec4f();
  var squares = vec4f();
  for (var s = 0u; s < params.strips; s++) {
    let n = f32(min(params.strip, params.rows - s * params.strip));
    let at = (g * params.strips + s) * 2u * params.channels4 + c;
    let delta = partial[at] - m;
    let total = count + n;
    m = fma(delta, vec4f(n / total), m);
    squares += partial[at + params.channels4] + delta * delta * (count * n / total);
    count = total;
  }
  let v = squares / (count - params.correction);
  let a = scale[c] / sqrt(v + params.epsilon);
  mean[id.x] = m;
  variance[id.x] = v;
  gain[id.x] = a;
  offset[id.x] = shift[c] - m * a;
}
