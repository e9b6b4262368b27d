// augment.wgsl: views of images: crop and resize, flip, colour jitter, greyscale, solarise, normalise.
//
//   images  bytes [shard_images, source_height, source_width, 3], packed, red first: the images of the data
//           set from first_image on. A data set larger than a binding has several shards, with one dispatch
//           each. A dispatch makes only the views whose image lies in its shard.
//   rows    [views] Row: the parameters of each view, and the index of its image in the whole data set
//   views   [views, size, size, 4] f32, NHWC; the fourth channel is 0
//
// Values are in [0, 1]; grey = .2989 R + .587 G + .114 B. The steps are
//   1 crop      row.crop maps output pixel (i, j), that is [i, i + 1) x [j, j + 1), to an interval of the
//               source. Each axis is resized separately:
//                 enlarge: bilinear at the middle of the interval, between the two nearest pixel centres,
//                          clamped to the crop box (half-pixel centres, corners not aligned);
//                 shrink:  mean over the interval; pixels at its ends are weighted by the covered share.
//               A flip is a negative scale: the same interval, read from the other end.
//               With AREA = true it resizes as OpenCV's INTER_AREA does: the mean over the interval if neither axis
//               enlarges. Otherwise output pixel i of an axis with l source and n output pixels mixes the source pixels
//               s = floor(i l / n) and s + 1. The weight of s + 1 is max(0, i + 1 - (s + 1) n / l) mod 1. A whole factor
//               of enlargement therefore repeats pixels.
//   2 brightness  x = clip(brightness x)
//   3 contrast    x = clip(contrast x + (1 - contrast) mean), mean = the mean grey of the view after 2
//   4 saturation  x = clip(saturation x + (1 - saturation) grey(x))
//   5 hue         x = clip(hue x), a rotation of RGB about the grey axis; then the HSV hue moves by hsv_hue turns
//   6 greyscale   x = grey(x);   7 solarise  x = 1 - x where x >= solarize_from
//   8 normalise   (x - mean) / std for each channel
// With FIRST_GREY = true, steps 3 and 4 blend with the grey of the view after step 1, and steps 2 to 4 do not clip.
// With FINISH = false steps 7 and 8 are left out: augment_blur.wgsl blurs first, then does them.
// A factor of 1 and the identity matrix keep the bits of a value, so steps need no flags.
//
// One workgroup makes one view; the grid uses x and y. The mean is summed in a fixed order: equal rows give equal bits.

// @specialize
const WORKGROUP_SIZE = 64u;
const FINISH = true;
const AREA = false;
const FIRST_GREY = false;
// @end

struct Params {
  views: u32,
  size: u32,
  source_height: u32,
  source_width: u32,
  first_image: u32,
  shard_images: u32,
  mean_red: f32,
  mean_green: f32,
  mean_blue: f32,
  std_red: f32,
  std_green: f32,
  std_blue: f32,
}

// 32 floats; matrix columns are padded to four.
struct Row {
  image: f32,
  brightness: f32,
  contrast: f32,
  saturation: f32,
  greyscale: f32,
  solarize_from: f32,
  blur: f32, // standard deviation, for augment_blur.wgsl
  hsv_hue: f32,
  crop: mat3x3f, // from output to source pixel coordinates (x, y, 1)
  hue: mat3x3f,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> images: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<Row>;
@group(0) @binding(3) var<storage, read_write> views: array<vec4f>;

// A scale is a quotient of whole pixels in f32; this is below 1 by more than its error.
const ENLARGES = 0.999999;
const GREY = vec3f(0.2989, 0.5870, 0.1140);

var<workgroup> partial_sums: array<f32, WORKGROUP_SIZE>;

// The source pixels under one output pixel along one axis, and their weights.
struct Taps {
  first: i32,
  last: i32,
  middle: f32,
  width: f32, // width of the interval in source pixels; 0 means two pixels that are mixed
  next_weight: f32, // of the second pixel, if two are mixed as OpenCV does; negative if they are mixed by distance
  low: i32, // the crop box is low … high, both included
  high: i32,
}

// enlarges: one of the axes has a scale below 1
fn taps_at(index: u32, scale: f32, offset: f32, enlarges: bool) -> Taps {
  // Crop boxes are whole pixels, so rounding removes the f32 error.
  let start = i32(round(offset));
  let end = i32(round(offset + scale * f32(params.size)));
  let middle = offset + scale * (f32(index) + 0.5);
  var taps: Taps;
  taps.middle = middle;
  taps.low = min(start, end);
  taps.high = max(start, end) - 1;
  if AREA && enlarges {
    let length = u32(abs(end - start));
    let i = select(index, params.size - 1u - index, scale < 0.0);
    let s = i * length / params.size;
    let share = i32((i + 1u) * length) - i32((s + 1u) * params.size);
    taps.width = 0.0;
    taps.next_weight = f32(u32(max(share, 0)) % length) / f32(length);
    taps.first = taps.low + i32(s);
    taps.last = taps.first + 1;
  } else if abs(scale) > 1.0 {
    taps.width = abs(scale);
    taps.first = i32(floor(middle - 0.5 * taps.width));
    taps.last = i32(ceil(middle + 0.5 * taps.width)) - 1;
  } else {
    taps.width = 0.0;
    taps.next_weight = -1.0;
    taps.first = i32(floor(middle - 0.5));
    taps.last = taps.first + 1;
  }
  return taps;
}

fn tap_weight(taps: Taps, pixel: i32) -> f32 {
  let left = f32(pixel);
  if AREA && taps.width == 0.0 && taps.next_weight >= 0.0 {
    return select(1.0 - taps.next_weight, taps.next_weight, pixel == taps.last);
  }
  if taps.width == 0.0 {
    return max(0.0, 1.0 - abs(left + 0.5 - taps.middle));
  }
  let half_width = 0.5 * taps.width;
  let covered = min(left + 1.0, taps.middle + half_width) - max(left, taps.middle - half_width);
  return max(0.0, covered) / taps.width;
}

// Three bytes at any byte offset, as values in [0, 1]. They lie in one word or in two. If they lie in one, `next` is
// that word, and its shifted bits only reach the unused high byte (or are equal, where the shift is 0).
fn load_pixel(byte: u32) -> vec3f {
  let shift = 8u * (byte % 4u);
  let word = images[byte / 4u];
  let next = images[(byte + 2u) / 4u];
  return unpack4x8unorm((word >> shift) | (next << ((32u - shift) % 32u))).rgb;
}

fn crop_pixel(first_byte: u32, column: u32, line: u32, crop: mat3x3f) -> vec3f {
  let enlarges = min(abs(crop[0].x), abs(crop[1].y)) < ENLARGES;
  let across = taps_at(column, crop[0].x, crop[2].x, enlarges);
  let down = taps_at(line, crop[1].y, crop[2].y, enlarges);
  var sum = vec3f(0.0);
  for (var y = down.first; y <= down.last; y++) {
    let line_start = u32(clamp(y, down.low, down.high)) * params.source_width;
    var line_sum = vec3f(0.0);
    for (var x = across.first; x <= across.last; x++) {
      let pixel = line_start + u32(clamp(x, across.low, across.high));
      line_sum += tap_weight(across, x) * load_pixel(first_byte + 3u * pixel);
    }
    sum += tap_weight(down, y) * line_sum;
  }
  return sum;
}

// Not the built-in mix, which may round even with factor 1.
fn blend(color: vec3f, other: vec3f, factor: f32) -> vec3f {
  return factor * color + (1.0 - factor) * other;
}

// Moves the hue; saturation and value stay. Hues count in sixths of a turn from red. For the new hue t, the channel whose
// pure colour has hue c gets value - chroma * clamp(distance(t, c) - 1, 0, 1).
fn turn_hue(color: vec3f, turns: f32) -> vec3f {
  let value = max(color.r, max(color.g, color.b));
  let chroma = value - min(color.r, min(color.g, color.b));
  if chroma == 0.0 {
    return color;
  }
  var sixths = (color.g - color.b) / chroma;
  if value != color.r {
    sixths = select(4.0 + (color.r - color.g) / chroma, 2.0 + (color.b - color.r) / chroma, value == color.g);
  }
  let turned = sixths + 6.0 * turns;
  let ahead = turned - vec3f(0.0, 2.0, 4.0);
  let distance = abs(ahead - 6.0 * round(ahead / 6.0));
  return value - chroma * saturate(distance - 1.0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let view = group.y * groups.x + group.x;
  if view >= params.views {
    return;
  }
  let row = rows[view];
  let image = u32(row.image);
  if image < params.first_image || image - params.first_image >= params.shard_images {
    return;
  }
  let first_byte = (image - params.first_image) * params.source_height * params.source_width * 3u;
  let pixels = params.size * params.size;
  let first_pixel = view * pixels;

  // The output buffer holds the cropped view between the two passes. Each thread reads back only the pixels
  // that it wrote itself, so only the sum needs barriers.
  var grey_sum = 0.0;
  for (var p = lane; p < pixels; p += WORKGROUP_SIZE) {
    let cropped = crop_pixel(first_byte, p % params.size, p / params.size, row.crop);
    if FIRST_GREY {
      // The fourth channel keeps the grey until the second pass.
      let grey = dot(cropped, GREY);
      views[first_pixel + p] = vec4f(row.brightness * cropped, grey);
      grey_sum += grey;
    } else {
      let color = saturate(row.brightness * cropped);
      views[first_pixel + p] = vec4f(color, 0.0);
      grey_sum += dot(color, GREY);
    }
  }
  partial_sums[lane] = grey_sum;
  for (var step = WORKGROUP_SIZE / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if lane < step {
      partial_sums[lane] += partial_sums[lane + step];
    }
  }
  workgroupBarrier();
  let mean_grey = vec3f(partial_sums[0] / f32(pixels));

  let mean = vec3f(params.mean_red, params.mean_green, params.mean_blue);
  let deviation = vec3f(params.std_red, params.std_green, params.std_blue);
  for (var p = lane; p < pixels; p += WORKGROUP_SIZE) {
    var color = views[first_pixel + p].rgb;
    if FIRST_GREY {
      let grey = vec3f(views[first_pixel + p].a);
      color = blend(blend(color, mean_grey, row.contrast), grey, row.saturation);
    } else {
      color = saturate(blend(color, mean_grey, row.contrast));
      color = saturate(blend(color, vec3f(dot(color, GREY)), row.saturation));
    }
    color = saturate(row.hue * color);
    if row.hsv_hue != 0.0 {
      color = turn_hue(color, row.hsv_hue);
    }
    color = blend(vec3f(dot(color, GREY)), color, row.greyscale);
    if FINISH {
      color = select(color, 1.0 - color, color >= vec3f(row.solarize_from));
      color = (color - mean) / deviation;
    }
    views[first_pixel + p] = vec4f(color, 0.0);
  }
}
