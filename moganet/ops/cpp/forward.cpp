// Forward passes of the branches of a block: x + mask * branch(n), n the normalised input. In a folded block
// (moganet/fusion.py) x and n are the same map.

#include <vector>

#include "branches.h"

namespace moganet {
namespace {

// The bias of proj_1 for each image in a folded block: b_in - mean * (mean of q over the image).
std::vector<float> biases(const Maps& maps, const float* q, const float* b_in, const float* mean) {
  const Pixels problem = pixels_of(maps);
  const int chunks = moganet_chunks(&problem), channels = maps.channels;
  std::vector<float> sums(size_t(maps.batch) * chunks * channels), bias(size_t(maps.batch) * channels);
  moganet_sum(&problem, q, sums.data());
  for (int i = 0; i < maps.batch; ++i) {
    float* const own = bias.data() + size_t(i) * channels;
    sum_rows(sums.data() + size_t(i) * chunks * channels, chunks, channels, own, false);
    for (int c = 0; c < channels; ++c) own[c] = b_in[c] - mean[c] * (own[c] / area(maps));
  }
  return bias;
}

}  // namespace

// w: proj_1, its bias, and the factors of the mean of its result, or null and then a bias for each image; gate and
// bias; three convolutions and biases; value and bias; proj_2 and bias; the factors of n in the result. `saved` holds
// four maps, or is null. Returns 0, or 1 if there is no memory.
extern "C" int moganet_spatial(const Block* b, const float* const* w, const float* x, const float* n, const float* mask,
                               float* saved, float* out) {
  const int channels = b->maps.channels;
  const size_t all = b->maps.batch * b->maps.image(), some = b->images * b->maps.image();
  Workspace workspace(saved ? some : 4 * some, 4);
  if (!workspace) return 1;
  float* const u_of_some = workspace.allocate(some);
  float* const three = saved ? nullptr : workspace.allocate(3 * some);
  for_images(b->maps, b->images, [&](const Maps& maps, int image) {
    const size_t at = image * maps.image();
    float *u = u_of_some, *q = saved ? saved + at : u, *g = saved ? saved + all + at : three;
    float *m = saved ? saved + 2 * all + at : three + some, *v = saved ? saved + 3 * all + at : u;
    const Pixels flat = pixels_of(maps);
    const MultiOrder convs = multi_order(*b, maps, w + 5);
    multiply(maps, channels, channels, n + at, w[0], channels, zeros(channels), q);
    std::vector<float> own;
    if (w[2]) own = biases(maps, q, w[1], w[2]);
    moganet_silu(&flat, q, w[2] ? own.data() : w[1] + size_t(image) * channels, u);
    multiply(maps, channels, channels, u, w[3], channels, w[4], g);
    moganet_multi_order(&convs, u, m);
    multiply(maps, channels, channels, m, w[11], channels, w[12], v);
    float* const s = saved ? u : g;
    moganet_gate(&flat, g, v, b->double_gate, s);
    multiply(maps, channels, channels, s, w[13], channels, w[14], out + at);
    moganet_add_spatial(&flat, out + at, x + at, n + at, w[15], mask ? mask + image : nullptr, out + at);
  });
  return 0;
}

// w: fc1 and bias, depthwise convolution and bias, context and bias, fc2 and bias, the factors of the context. Computes
// one `slice` of the hidden channels at a time. `saved` is null or holds the hidden map, ordered by images and slices
// as they are computed, followed by the context of all pixels. Returns 0, or 1 if there is no memory.
extern "C" int moganet_channel(const Block* b, const float* const* w, const float* x, const float* n, const float* mask,
                               float* saved, float* out) {
  const int channels = b->maps.channels, images = b->images;
  const size_t pixels_at_once = size_t(images) * area(b->maps), some = pixels_at_once * b->slice;
  Workspace workspace((saved ? some : 2 * some) + pixels_at_once, 3);
  if (!workspace) return 1;
  float* const g = workspace.allocate(some);
  float* const h_of_some = saved ? nullptr : workspace.allocate(some);
  float* const context_of_some = workspace.allocate(pixels_at_once);
  for_images(b->maps, images, [&](const Maps& maps, int image) {
    const size_t at = image * maps.image(), pixel = size_t(image) * area(maps);
    const Pixels flat = pixels_of(maps);
    float* const context = saved ? saved + size_t(pixels(b->maps)) * b->hidden + pixel : context_of_some;
    for (int c = 0; c < b->hidden; c += b->slice) {
      Maps wide = maps;
      wide.channels = std::min(b->slice, b->hidden - c);
      float* const h = saved ? saved + pixel * b->hidden + size_t(pixels(maps)) * c : h_of_some;
      multiply(maps, channels, wide.channels, n + at, w[0] + size_t(c) * channels, channels, w[1] + c, h);
      moganet_ffn(&wide, h, w[2] + size_t(c) * TAPS, w[3] + c, w[4] + c, c ? nullptr : w[5], g, context);
      multiply(maps, wide.channels, channels, g, w[6] + c, b->hidden, c ? nullptr : w[7], out + at);
    }
    moganet_add_channel(&flat, out + at, x + at, context, w[8], mask ? mask + image : nullptr, out + at);
  });
  return 0;
}

}  // namespace moganet
