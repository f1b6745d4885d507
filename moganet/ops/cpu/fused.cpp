// A block that is folded for inference (moganet/fusion.py), one half after the other.

#include <algorithm>
#include <vector>

#include "kernels.h"

namespace moganet {
namespace {

// w: proj_1, its bias and what the mean is multiplied by, gate and bias, three convolutions and biases, value and bias,
// proj_2 and bias, shortcut; products as (outputs, inputs). `memory` has room for three maps.
void spatial(const Fused& f, const Maps& maps, const float* const* w, const float* x, float* memory, float* out) {
  const int area = maps.height * maps.width, channels = maps.channels;
  const Pixels pixels = {maps.batch, area, channels, maps.threads};
  const Product whole = {maps.batch * area, channels, channels, channels, 1, maps.threads};
  MultiOrder convs = {maps, {}};
  const int firsts[3] = {0, f.low, f.low + f.middle};
  for (int i = 0; i < 3; ++i) convs.convs[i] = {w[5 + 2 * i], w[6 + 2 * i], f.sides[i], f.dilations[i], firsts[i]};
  float *q = memory, *g = q + size_t(whole.pixels) * channels, *m = g + size_t(whole.pixels) * channels;
  const std::vector<float> none(channels);

  moganet_product(&whole, x, w[0], none.data(), q);
  const int parts = moganet_parts(&pixels);
  std::vector<float> sums(size_t(maps.batch) * parts * channels), bias(size_t(maps.batch) * channels);
  moganet_sum(&pixels, q, sums.data());
  for (size_t i = 0; i < sums.size(); ++i) bias[i / channels / parts * channels + i % channels] -= sums[i] / area;
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = w[1][i % channels] + w[2][i % channels] * bias[i];
  moganet_silu(&pixels, q, bias.data(), q);
  moganet_product(&whole, q, w[3], w[4], g);
  moganet_multi_order(&convs, q, m);
  moganet_product(&whole, m, w[11], w[12], q);
  moganet_gate(&pixels, g, q, f.twice, g);
  moganet_product(&whole, g, w[13], w[14], out);
  moganet_add_spatial(&pixels, out, x, x, w[15], nullptr, out);
}

// w: fc1 and bias, depthwise convolution and bias, context and bias, fc2 and bias, what the context is multiplied by;
// products as (outputs, inputs). A `slice` of the hidden channels at a time passes through: `memory` has room for two
// maps of so many and one of one.
void channel(const Fused& f, const Maps& maps, const float* const* w, const float* x, float* memory, float* out) {
  const int area = maps.height * maps.width, total = maps.batch * area, channels = maps.channels;
  const Pixels pixels = {maps.batch, area, channels, maps.threads};
  float *h = memory, *g = h + size_t(total) * f.slice, *context = g + size_t(total) * f.slice;
  for (int c = 0; c < f.hidden; c += f.slice) {
    const int some = std::min(f.slice, f.hidden - c);
    const Product first = {total, channels, some, channels, 1, maps.threads};
    const Product second = {total, some, channels, f.hidden, 1, maps.threads};
    const Maps wide = {maps.batch, maps.height, maps.width, some, maps.threads};
    moganet_product(&first, x, w[0] + size_t(c) * channels, w[1] + c, h);
    moganet_ffn(&wide, h, w[2] + c * 9, w[3] + c, w[4] + c, c ? nullptr : w[5], g, context);
    moganet_product(&second, g, w[6] + c, c ? nullptr : w[7], out);
  }
  moganet_add_channel(&pixels, out, x, context, w[8], nullptr, out);
}

// Calls body(some images, the number of floats before them).
template <class Body>
void for_images(const Maps& maps, int at_once, Body body) {
  for (int i = 0; i < maps.batch; i += at_once) {
    Maps some = maps;
    some.batch = std::min(at_once, maps.batch - i);
    body(some, i * maps.image());
  }
}

}  // namespace

// Weights are those of both halves, 16 and 9. `memory` has room for the whole map, and behind it for what either half
// needs.
extern "C" void moganet_fused(const Fused* f, const float* const* weights, const float* x, float* memory, float* out) {
  float* const rest = memory + f->maps.batch * f->maps.image();
  for_images(f->maps, f->spatial_images, [&](const Maps& maps, size_t at) {
    spatial(*f, maps, weights, x + at, rest, memory + at);
  });
  for_images(f->maps, f->channel_images, [&](const Maps& maps, size_t at) {
    channel(*f, maps, weights + 16, memory + at, rest, out + at);
  });
}

}  // namespace moganet
