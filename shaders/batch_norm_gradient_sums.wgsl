// batch_norm_gradient_sums.wgsl: first pass of the batch-norm gradient.
// x, dy, y, masked: [groups, rows, C]; mean, gain, offset: [groups, C]; partial: [groups, strips, 2, C];
// C is a multiple of 4. The sums run over the rows of strip s.
//   g = dy or, with a fused ReLU, dy where the output of the ReLU is positive, else 0
//   partial[group, s, 0, c] = Σ g,  partial[group, s, 1, c] = Σ g · (x − mean)
// MASK computes the ReLU's mask again from x · gain + offset. MASK_FROM_Y reads it from y, where a residual was added.
// KEEP writes g to masked. One thread handles one vec4 of channels of one strip.

// @specialize
const WORKGROUP_SIZE = 64u;
const MASK = false;
const MASK_FROM_Y = false;
const KEEP = false;
alias T = vec4f;    // vec4h for f16 storage
// @end

struct Params { rows: u32, channels4: u32, strip: u32, strips: u32, first_strip: u32, first_group: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<T>;
@group(0) @binding(2) var<storage, read> x: array<T>;
@group(0) @binding(3) var<storage, read> y: array<T>;
@group(0) @binding(4) var<storage, read> mean: array<vec4f>;
@group(0) @binding(5) var<storage, read> gain: array<vec4f>;
@group(0) @binding(6) var<storage, read> offset: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> partial: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> masked: array<T>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  let strips = (params.rows + params.strip - 1u) / params.strip;
  for (var i = id.x; i < strips * params.channels4; i += workgroups.x * WORKGROUP_SIZE) {
    let c = i % params.channels4;
    let s = i / params.channels4;
    let begin = s * params.strip;
    let count = min(params.strip, params.rows - begin);
    let first = (id.y * params.rows + begin) * params.channels4 + c;
    let group = (params.first_group + id.y) * params.channels4 + c;
    let m = mean[group];
    var a: vec4f;
    var b: vec4f;
    if (MASK) { a = gain[group]; b = offset[group]; }
    var sum = vec4f();
    var product = vec4f();
    for (var r = 0u; r < count; r++) {
      let at = first + r * params.channels4;
      let value = vec4f(x[at]);
      var kept = dy[at];
      if (MASK) { kept = select(T(), kept, fma(value, a, b) > vec4f()); }
      if (MASK_FROM_Y) { kept = select(T(), kept, y[at] > T()); }
      if (KEEP) { masked[at] = kept; }
      let g = vec4f(kept);
      sum += g;
      product = fma(g, value - m, product);
    }
    let out = ((params.first_group + id.y) * params.strips + params.first_strip + s) * 2u * params.channels4 + c;
    partial[out] = sum;
    partial[out + params.channels4] = product;
  }
}
