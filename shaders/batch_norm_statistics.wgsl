// batch_norm_statistics.wgsl: mean and squared deviation of strips of rows, for batch-norm and standardising.
// x: [groups, rows, C] (rows = images × pixels); partial: [groups, strips, 2, C]; C is a multiple of 4.
//   partial[g, s, 0, c] = mean, partial[g, s, 1, c] = Σ (x − mean)²  over the rows of strip s of group g
// Deviations are taken from the first row of the strip, because Σx² − n·mean² cancels. batch_norm_merge.wgsl combines
// the strips in a fixed order. One thread handles one vec4 of channels of one strip.

// @specialize
const WORKGROUP_SIZE = 64u;
alias T = vec4f;    // vec4h for f16 storage
// @end

// rows: rows of a group in this dispatch; strips: strips of the whole group; workgroup.y counts groups from first_group.
struct Params { rows: u32, channels4: u32, strip: u32, strips: u32, first_strip: u32, first_group: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<T>;
@group(0) @binding(2) var<storage, read_write> partial: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) workgroups: vec3u) {
  let strips = (params.rows + params.strip - 1u) / params.strip;
  for (var i = id.x; i < strips * params.channels4; i += workgroups.x * WORKGROUP_SIZE) {
    let c = i % params.channels4;
    let s = i / params.channels4;
    let begin = s * params.strip;
    let count = min(params.strip, params.rows - begin);
    let at = (id.y * params.rows + begin) * params.channels4 + c;
    let origin = vec4f(x[at]);
    var sum = vec4f();
    var squares = vec4f();
    for (var r = 1u; r < count; r++) {
      let d = vec4f(x[at + r * params.channels4]) - origin;
      sum += d;
      squares = fma(d, d, squares);
    }
    let mean = sum / f32(count);
    let out = ((params.first_group + id.y) * params.strips + params.first_strip + s) * 2u * params.channels4 + c;
    partial[out] = origin + mean;
    partial[out + params.channels4] = max(squares - sum * mean, vec4f());
  }
}
