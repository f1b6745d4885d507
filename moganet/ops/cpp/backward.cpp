// Backward passes of the branches of a block, from the gradient of x + mask * branch(n).

#include <vector>

#include "branches.h"

namespace moganet {
namespace {

// Destination of the gradients of weights; with `add`, later images accumulate.
struct Target {
  const Maps& maps;
  bool add;

  // Adds up the sums that a kernel returns for each chunk of pixels: `rows` rows of `width`.
  void sums(const float* from, int rows, int width, float* to) const { sum_rows(from, rows, width, to, add); }

  // a^T b, with rows of the result `stride` apart.
  void transposed_matmul(const float* a, int left, const float* b, int right, float* to, int stride) const {
    const TransposedMatmul problem = {pixels(maps), left, right, stride, add, maps.threads};
    moganet_transposed_matmul(&problem, a, b, to);
  }
};

int chunks_of(const Maps& maps) {
  const Pixels problem = pixels_of(maps);
  return maps.batch * moganet_chunks(&problem);
}

// Adds up two sums (channels) of each chunk.
void two_sums(const Target& target, const std::vector<float>& sums, float* first, float* second) {
  const int channels = target.maps.channels, chunks = chunks_of(target.maps);
  std::vector<float> both(2 * size_t(channels));
  sum_rows(sums.data(), chunks, 2 * channels, both.data(), false);
  target.sums(both.data(), 1, channels, first);
  target.sums(both.data() + channels, 1, channels, second);
}

// Gradients of the three convolutions: of x into `out`, of weights and biases into `grads`.
void through_convolutions(const Block& b, const Target& target, const float* const* w, const float* x,
                          const float* grad, float* out, float* const* grads) {
  const Maps& maps = target.maps;
  const MultiOrder problem = multi_order(b, maps, w);
  size_t sizes[3];
  std::vector<float> own[6];
  Gradients of_images;
  for (int i = 0; i < 3; ++i) {
    sizes[i] = i == 0 ? maps.channels : i == 1 ? b.middle : maps.channels - b.low - b.middle;
    own[2 * i].resize(maps.batch * sizes[i] * b.sides[i] * b.sides[i]);
    own[2 * i + 1].resize(maps.batch * sizes[i]);
    of_images.weight[i] = own[2 * i].data();
    of_images.bias[i] = own[2 * i + 1].data();
  }
  moganet_multi_order_backward(&problem, x, grad, out, &of_images);
  for (int i = 0; i < 6; ++i) target.sums(own[i].data(), maps.batch, own[i].size() / maps.batch, grads[i]);
}

}  // namespace

// w: proj_1 with feature decomposition folded in, gate, three convolutions and biases, value, proj_2 with the layer
// scale folded in, layer scale. `saved` as moganet_spatial fills it. Writes the gradient of n without the part through
// the mean of n, and `grads`: the sums of t = mask * grad, plain and times n; the gradients of proj_2, value and bias,
// gate and bias, proj_1, the convolutions and biases; the gradient of proj_1's bias per image (batch, channels).
extern "C" int moganet_spatial_backward(const Block* b, const float* const* w, const float* grad, const float* n,
                                        const float* mask, const float* saved, float* grad_n, float* const* grads) {
  const int c = b->maps.channels;
  const size_t all = b->maps.batch * b->maps.image(), some = b->images * b->maps.image();
  Workspace workspace((mask ? 6 : 5) * some, 6);
  if (!workspace) return 1;
  float *dv = workspace.allocate(some), *s = workspace.allocate(some), *dg = workspace.allocate(some);
  float *u = workspace.allocate(some), *du = workspace.allocate(some);
  float* const masked = mask ? workspace.allocate(some) : nullptr;
  for_images(b->maps, b->images, [&](const Maps& maps, int image) {
    const size_t at = image * maps.image();
    const float *q = saved + at, *g = q + all, *m = g + all, *v = m + all;
    const Pixels flat = pixels_of(maps);
    const Target target = {maps, image > 0};
    std::vector<float> sums(size_t(chunks_of(maps)) * 2 * c);

    moganet_shortcut_backward(&flat, grad + at, n + at, mask ? mask + image : nullptr, masked, sums.data());
    const float* const d = mask ? masked : grad + at;
    two_sums(target, sums, grads[0], grads[1]);
    multiply_back(maps, c, c, d, w[9], c, false, dv);
    moganet_gate_backward(&flat, dv, g, v, b->double_gate, s, dg, dv, sums.data());
    two_sums(target, sums, grads[6], grads[4]);
    moganet_silu(&flat, const_cast<float*>(q), nullptr, u);
    target.transposed_matmul(d, c, s, c, grads[2], c);
    target.transposed_matmul(dv, c, m, c, grads[3], c);
    target.transposed_matmul(dg, c, u, c, grads[5], c);
    multiply_back(maps, c, c, dv, w[8], c, false, s);
    through_convolutions(*b, target, w + 2, u, s, du, grads + 8);
    multiply_back(maps, c, c, dg, w[1], c, false, s);
    moganet_silu_backward(&flat, s, du, q, s, sums.data());
    const int chunks = moganet_chunks(&flat);
    for (int i = 0; i < maps.batch; ++i)
      sum_rows(sums.data() + size_t(i) * chunks * c, chunks, c, grads[14] + size_t(image + i) * c, false);
    target.transposed_matmul(s, c, n + at, c, grads[7], c);
    multiply_back(maps, c, c, s, w[0], c, false, grad_n + at);
    moganet_add_scaled(&flat, grad_n + at, d, w[10], grad_n + at);
  });
  return 0;
}

// w: fc2 with layer scale and gamma_c folded in, the factors of the context, fc1, depthwise convolution and bias,
// context. `saved` as moganet_channel fills it. Writes the gradient of n, and `grads`: the sums of t = mask * grad,
// plain and times GELU(context); the gradients of fc2, the context's bias, fc1, depthwise convolution and bias, the
// context's weight and fc1's bias.
extern "C" int moganet_channel_backward(const Block* b, const float* const* w, const float* grad, const float* n,
                                        const float* mask, const float* saved, float* grad_n, float* const* grads) {
  const int channels = b->maps.channels;
  const size_t pixels_at_once = size_t(b->images) * area(b->maps), some = pixels_at_once * b->slice;
  Workspace workspace(2 * some + pixels_at_once + (mask ? b->images * b->maps.image() : 0), 4);
  if (!workspace) return 1;
  float *dg = workspace.allocate(some), *dh = workspace.allocate(some), *d_context = workspace.allocate(pixels_at_once);
  float* const masked = mask ? workspace.allocate(b->images * b->maps.image()) : nullptr;
  for_images(b->maps, b->images, [&](const Maps& maps, int image) {
    const size_t at = image * maps.image(), pixel = size_t(image) * area(maps);
    const Pixels flat = pixels_of(maps);
    const Target target = {maps, image > 0};
    std::vector<float> sums(size_t(chunks_of(maps)) * 2 * channels);

    moganet_context_backward(&flat, grad + at, saved + size_t(pixels(b->maps)) * b->hidden + pixel, w[1],
                             mask ? mask + image : nullptr, masked, d_context, sums.data());
    const float* const d = mask ? masked : grad + at;
    two_sums(target, sums, grads[0], grads[1]);
    target.sums(d_context, pixels(maps), 1, grads[3]);
    for (int c = 0; c < b->hidden; c += b->slice) {
      Maps wide = maps;
      wide.channels = std::min(b->slice, b->hidden - c);
      const size_t width = wide.channels;
      std::vector<float> of_images(maps.batch * SUMS * width), own(SUMS * width), taps(TAPS * width);
      multiply_back(maps, channels, width, d, w[0] + c, b->hidden, false, dg);
      moganet_ffn_backward(&wide, saved + pixel * b->hidden + size_t(pixels(maps)) * c, w[3] + size_t(c) * TAPS,
                           w[4] + c, w[5] + c, dg, d_context, dg, dh, of_images.data());
      sum_rows(of_images.data(), maps.batch, own.size(), own.data(), false);
      for (size_t i = 0; i < width; ++i)
        for (int k = 0; k < TAPS; ++k) taps[i * TAPS + k] = own[k * width + i];
      target.sums(taps.data(), 1, taps.size(), grads[5] + size_t(c) * TAPS);
      for (int i = 0; i < 3; ++i) target.sums(own.data() + (TAPS + i) * width, 1, width, grads[6 + i] + c);
      target.transposed_matmul(d, channels, dg, width, grads[2] + c, b->hidden);
      target.transposed_matmul(dh, width, n + at, channels, grads[4] + size_t(c) * channels, channels);
      multiply_back(maps, width, channels, dh, w[2] + size_t(c) * channels, channels, c > 0, grad_n + at);
    }
  });
  return 0;
}

}  // namespace moganet
