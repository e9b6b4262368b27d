// batch_norm_merge.wgsl: combines the statistics of strips into mean, variance, gain and offset.
// partial: [groups, strips, 2, C] from batch_norm_statistics.wgsl; scale, shift: [C]; the outputs: [groups, C].
//   mean[g, c], variance[g, c] = Σ (x − mean)² / (n − correction)
//   gain[g, c] = scale[c] / √(variance + epsilon),  offset[g, c] = shift[c] − mean · gain    so that y = x · gain + offset
// SHARE threads handle one vec4 of channels of one group. Each merges every SHARE-th strip, one after another (Chan et
// al. 1979), and their moments are then merged in the order of the threads.

// @specialize
const WORKGROUP_SIZE = 64u;
const SHARE = 1u;      // a power of 2; with more than 1, `total` is 'shared'
const AT_ONCE = 1u;    // strips that a thread loads before it merges the first
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

const ITEMS = WORKGROUP_SIZE / SHARE;   // an item is one vec4 of channels of one group

struct Moments { count: f32, mean: vec4f, squares: vec4f }

// b is not empty.
fn merged(a: Moments, b: Moments) -> Moments {
  let delta = b.mean - a.mean;
  let count = a.count + b.count;
  let mean = fma(delta, vec4f(b.count / count), a.mean);
  return Moments(count, mean, a.squares + (b.squares + delta * delta * (a.count * b.count / count)));
}

// The moments of an item from those of the threads that share it. The result is valid in the first of these threads.
// @snippet total = alone
fn total(moments: Moments, local: u32) -> Moments { return moments; }
// @end
/* @snippet total = shared
var<workgroup> counts: array<f32, WORKGROUP_SIZE>;
var<workgroup> means: array<vec4f, WORKGROUP_SIZE>;
var<workgroup> squares: array<vec4f, WORKGROUP_SIZE>;
fn total(moments: Moments, local: u32) -> Moments {
  var result = moments;
  counts[local] = moments.count;
  means[local] = moments.mean;
  squares[local] = moments.squares;
  workgroupBarrier();
  if (local < ITEMS) {
    for (var other = local + ITEMS; other < WORKGROUP_SIZE; other += ITEMS) {
      if (counts[other] > 0.0) { result = merged(result, Moments(counts[other], means[other], squares[other])); }
    }
  }
  // The next item writes what this one has read.
  workgroupBarrier();
  return result;
}
@end */

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let items = params.groups * params.channels4;
  for (var first = workgroup.x * ITEMS; first < items; first += workgroups.x * ITEMS) {
    let i = first + local % ITEMS;
    let c = i % params.channels4;
    let g = i / params.channels4;
    let strips = select(0u, params.strips, i < items);
    var moments = Moments();
    for (var s = local / ITEMS; s < strips; s += AT_ONCE * SHARE) {
      var loaded: array<Moments, AT_ONCE>;
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        let strip = select(min(s + q * SHARE, strips - 1u), s, q == 0u);
        let at = (g * params.strips + strip) * 2u * params.channels4 + c;
        let n = f32(min(params.strip, params.rows - strip * params.strip));
        loaded[q] = Moments(n, partial[at], partial[at + params.channels4]);
      }
      for (var q = 0u; q < AT_ONCE; q++) { // @unroll
        if (q == 0u || s + q * SHARE < strips) { moments = merged(moments, loaded[q]); }
      }
    }
    moments = total(moments, local);
    if (local < ITEMS && i < items) {
      let v = moments.squares / (moments.count - params.correction);
      let a = scale[c] / sqrt(v + params.epsilon);
      mean[i] = moments.mean;
      variance[i] = v;
      gain[i] = a;
      offset[i] = shift[c] - moments.mean * a;
    }
  }
}
