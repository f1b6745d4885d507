// A block that is folded for inference (moganet/fusion.py), one half at a time.

#include <algorithm>
#include <vector>

#include "kernels.h"

// w: proj_1, its bias and what the mean is multiplied by, gate and bias, three convolutions and biases, value and bias,
// proj_2 and bias, shortcut; products as (inputs, outputs). `memory` has room for three maps.
extern "C" void moganet_fused_spatial(const MultiOrder* p, const float* const* w, int twice, const float* x,
                                      float* memory, float* out) {
  const Maps& maps = p->maps;
  const int area = maps.height * maps.width, channels = maps.channels;
  const Pixels pixels = {maps.batch, area, channels, maps.threads};
  const Product whole = {maps.batch * area, channels, channels, channels, 0, maps.threads};
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
  moganet_multi_order(p, q, m);
  moganet_product(&whole, m, w[11], w[12], q);
  moganet_gate(&pixels, g, q, twice, g);
  moganet_product(&whole, g, w[13], w[14], out);
  moganet_add_spatial(&pixels, out, x, x, w[15], nullptr, out);
}

// w: fc1 and bias, depthwise convolution and bias, context and bias, fc2 and bias, what the context is multiplied by;
// products as (inputs, outputs). A `slice` of the hidden channels at a time passes through: `memory` has room for two
// maps of so many and one of one.
extern "C" void moganet_fused_channel(const Maps* p, const float* const* w, int hidden, int slice, const float* x,
                                      float* memory, float* out) {
  const int area = p->height * p->width, total = p->batch * area;
  const Pixels pixels = {p->batch, area, p->channels, p->threads};
  float *h = memory, *g = h + size_t(total) * slice, *context = g + size_t(total) * slice;
  for (int c = 0; c < hidden; c += slice) {
    const int some = std::min(slice, hidden - c);
    const Product first = {total, p->channels, some, hidden, 0, p->threads};
    const Product second = {total, some, p->channels, p->channels, 0, p->threads};
    const Maps wide = {p->batch, p->height, p->width, some, p->threads};
    moganet_product(&first, x, w[0] + c, w[1] + c, h);
    moganet_ffn(&wide, h, w[2] + c * 9, w[3] + c, w[4] + c, c ? nullptr : w[5], g, context);
    moganet_product(&second, g, w[6] + size_t(c) * p->channels, c ? nullptr : w[7], out);
  }
  moganet_add_channel(&pixels, out, x, context, w[8], nullptr, out);
}
