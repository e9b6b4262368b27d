// loss_scale.wgsl: one step of dynamic loss scaling (Micikevicius et al. 2018), in place.
// overflow: [count]; state: [3] = (scale, clean, skipped); factor, applied: [1].
//   no overflow[s]:  factor = 1 / scale, applied = 1, clean ← clean + 1;
//                    after `interval` such steps scale ← 2 scale, clean ← 0
//   else:            factor = applied = 0, scale ← scale / 2, clean ← 0, skipped ← skipped + 1
// A single workgroup runs.

// @specialize
const WORKGROUP_SIZE = 64u;
// @end

struct Params { count: u32, interval: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> overflow: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> applied: array<f32>;

var<workgroup> found: atomic<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32) {
  var mine = 0u;
  for (var s = lane; s < params.count; s += WORKGROUP_SIZE) { mine |= overflow[s]; }
  if (mine != 0u) { atomicStore(&found, 1u); }
  workgroupBarrier();
  if (lane != 0u) { return; }
  let clean = atomicLoad(&found) == 0u;
  let scale = state[0];
  let run = state[1] + 1.0;
  let grows = run >= params.interval;
  factor[0] = select(0.0, 1.0 / scale, clean);
  applied[0] = select(0.0, 1.0, clean);
  state[0] = select(0.5 * scale, select(scale, 2.0 * scale, grows), clean);
  state[1] = select(0.0, run, clean && !grows);
  state[2] += select(1.0, 0.0, clean);
}
