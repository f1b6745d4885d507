// Steps between the two matmuls of a channel branch: the depthwise 3x3 convolution, GELU, and the context, the shared
// channel of Eq. 10. They run over a few channels of an image at a time; three rows of these are copied and stay in the
// cache.

#include <algorithm>
#include <numeric>

#include "kernels.h"
#include "vectors.h"

namespace moganet {
namespace {

// Channels at a time, and floats that three rows of them may take. With fewer channels, too little memory is read in
// one run.
constexpr int BLOCK = 128, ROWS_OF_BLOCK = 1 << 15;
// Tasks per thread, or more.
constexpr int TASKS = 4;

// Channels that are computed at once: whole cache lines.
int block_of(const Maps& p) {
  constexpr int least = 2 * WIDEST;
  return std::clamp(ROWS_OF_BLOCK / (3 * (p.width + 2)) / least * least, least, BLOCK);
}

// Number of bands that the rows of an image are split into, so that all threads have the same amount of work. Each band
// also reads one row of either neighbour.
int bands_of(const Maps& p) {
  const int even = p.threads / std::gcd(p.batch, p.threads);
  return std::min(p.height, even * std::clamp(p.height / 3 / even, 1, ceil_div(TASKS * p.threads, p.batch * even)));
}

// Ring buffer of three rows of some channels of a map, padded with zeros on all sides.
struct Rows {
  float* data;
  int width, channels;
  size_t row() const { return size_t(width + 2) * channels; }
  static size_t floats(int width, int channels) { return 3 * size_t(width + 2) * channels; }
  Rows(float* memory, int width, int channels) : data(memory), width(width), channels(channels) {
    std::fill_n(data, 3 * row(), 0.f);
  }
  // The first pixel of row y, from -1 on.
  float* at(int y) const { return data + (y + 3) % 3 * row() + channels; }
  // Reads row y of a map whose pixels lie `stride` apart; zeros below the last row.
  void read(const float* x, int y, int height, int stride) const {
    float* to = at(y);
    if (y >= height) return void(std::fill_n(to, size_t(width) * channels, 0.f));
    x += size_t(y) * width * stride;
    for (int i = 0; i < width; ++i, x += stride, to += channels)
      for_channels(0, channels, [&](auto lanes, int c) {
        constexpr int N = decltype(lanes)::value;
        store<N>(to + c, load<N>(x + c));
      });
  }
};

// The three rows around row y, from pixel x on.
struct Window {
  const float* rows[3];
  int channels;
  Window(const Rows& r, int y, int x) : channels(r.channels) {
    for (int i = 0; i < 3; ++i) rows[i] = r.at(y + i - 1) + (x - 1) * channels;
  }
  template <int N>
  Floats<N> at(int y, int x, int c) const {
    return load<N>(rows[y] + x * channels + c);
  }
};

// Adds the convolution at J neighbouring pixels. `rotated` rotates the kernel by 180 degrees.
template <bool rotated, int N, int J>
inline void convolve(const Window& window, const float* taps, int c, Floats<N>* total) {
#pragma GCC unroll 3
  for (int y = 0; y < 3; ++y)
#pragma GCC unroll 3
    for (int x = 0; x < 3; ++x) {
      const int k = 3 * y + x;
      const Floats<N> w = load<N>(taps + (rotated ? TAPS - 1 - k : k) * window.channels + c);
      for (int j = 0; j < J; ++j) total[j] += w * window.at<N>(y, x + j, c);
    }
}

// Calls body(count, first column) for a row, `J` pixels at a time, so that independent chains of operations overlap.
template <int J, class Body>
inline void for_columns(int width, Body body, int x = 0) {
  for (; x + J <= width; x += J) body(std::integral_constant<int, J>(), x);
  if constexpr (J > 1)
    if (x < width) for_columns<J / 2>(width, body, x);
}

// Weights of some channels: taps (9, channels), the convolution's bias and the weight of the context.
struct Weights {
  const float *taps, *bias, *context;
  Weights(const float* weight, const float* bias, const float* context, int first, int channels, float* memory)
      : taps(memory), bias(bias + first), context(context + first) {
    for (int k = 0; k < TAPS; ++k)
      for (int c = 0; c < channels; ++c) memory[k * channels + c] = weight[(first + c) * TAPS + k];
  }
};

// Computes rows `from` to `to` of an image. `h` and `out` point to the first of the channels.
void forward_block(const Maps& p, const Weights& w, const Rows& rows, const float* h, int from, int to,
                   const float* b_context, float* out, float* context) {
  if (from) rows.read(h, from - 1, p.height, p.channels);
  rows.read(h, from, p.height, p.channels);
  for (int y = from; y < to; ++y) {
    rows.read(h, y + 1, p.height, p.channels);
    for_columns<4>(p.width, [&](auto count, int x) {
      constexpr int J = decltype(count)::value;
      const Window window(rows, y, x);
      const size_t pixel = size_t(y) * p.width + x;
      float dots[J][WIDEST] = {};
      for_channels(0, rows.channels, [&](auto lanes, int c) {
        constexpr int N = decltype(lanes)::value;
        Floats<N> total[J];
        for (int j = 0; j < J; ++j) total[j] = load<N>(w.bias + c);
        convolve<false, N, J>(window, w.taps, c, total);
        gelu<N, J>(total);
        for (int j = 0; j < J; ++j) {
          store<N>(out + (pixel + j) * p.channels + c, total[j]);
          add_to<N>(dots[j], total[j] * load<N>(w.context + c));
        }
      });
      for (int j = 0; j < J; ++j)
        context[pixel + j] = sum<WIDEST>(load<WIDEST>(dots[j])) + (b_context ? *b_context : context[pixel + j]);
    });
  }
}

// Sums over the pixels of an image: gradients of the taps (9, channels), of the convolution's bias, of the context's
// weight, and of the bias in h.
struct Sums {
  float *taps, *bias, *context, *hidden;
  Sums(float* memory, int channels)
      : taps(memory), bias(memory + TAPS * channels), context(bias + channels), hidden(context + channels) {}
};

// Computes row y of `out` again, and of `d`, the gradient before GELU.
void backward_row(const Maps& p, const Weights& w, const Rows& h, const Rows& d, int y, const float* grad,
                  const float* d_context, float* out, const Sums& sums) {
  const int channels = h.channels;
  for_columns<4>(p.width, [&](auto count, int x) {
    constexpr int J = decltype(count)::value;
    const Window window(h, y, x);
    const size_t pixel = size_t(y) * p.width + x;
    for_channels(0, channels, [&](auto lanes, int c) {
      constexpr int N = decltype(lanes)::value;
      Floats<N> total[J], slope[J], slopes = {}, contexts = {};
      for (int j = 0; j < J; ++j) total[j] = load<N>(w.bias + c);
      convolve<false, N, J>(window, w.taps, c, total);
      gelu_with_slope<N, J>(total, slope);
      for (int j = 0; j < J; ++j) {
        const size_t at = (pixel + j) * p.channels + c;
        slope[j] *= load<N>(grad + at) + d_context[pixel + j] * load<N>(w.context + c);
        store<N>(out + at, total[j]);
        contexts += d_context[pixel + j] * total[j];
        store<N>(d.at(y) + size_t(x + j) * channels + c, slope[j]);
        slopes += slope[j];
      }
      add_to<N>(sums.bias + c, slopes);
      add_to<N>(sums.context + c, contexts);
#pragma GCC unroll 3
      for (int ky = 0; ky < 3; ++ky)
#pragma GCC unroll 3
        for (int kx = 0; kx < 3; ++kx) {
          float* const tap = sums.taps + (3 * ky + kx) * channels + c;
          Floats<N> total_of_tap = load<N>(tap);
          for (int j = 0; j < J; ++j) total_of_tap += slope[j] * window.at<N>(ky, kx + j, c);
          store<N>(tap, total_of_tap);
        }
    });
  });
}

// Computes row y of the gradient of h.
void convolve_back(const Maps& p, const Weights& w, const Rows& d, int y, float* d_h, const Sums& sums) {
  for_columns<4>(p.width, [&](auto count, int x) {
    constexpr int J = decltype(count)::value;
    const Window window(d, y, x);
    float* const to = d_h + (size_t(y) * p.width + x) * p.channels;
    for_channels(0, d.channels, [&](auto lanes, int c) {
      constexpr int N = decltype(lanes)::value;
      Floats<N> total[J] = {}, all = {};
      convolve<true, N, J>(window, w.taps, c, total);
      for (int j = 0; j < J; ++j) {
        store<N>(to + size_t(j) * p.channels + c, total[j]);
        all += total[j];
      }
      add_to<N>(sums.hidden + c, all);
    });
  });
}

}  // namespace

// out = GELU(dw(h) + bias); context = out . w + b, or with a null b, context += out . w. The context has one channel.
extern "C" void moganet_ffn(const Maps* problem, const float* h, const float* weight, const float* bias,
                            const float* w_context, const float* b_context, float* out, float* context) {
  const Maps& p = *problem;
  const int bands = bands_of(p), block = block_of(p);
#pragma omp parallel for num_threads(p.threads) schedule(dynamic)
  for (int i = 0; i < p.batch * bands; ++i) {
    const size_t image = i / bands, band = i % bands;
    for (int first = 0; first < p.channels; first += block) {
      const int channels = std::min(block, p.channels - first);
      float* const memory = scratch(Rows::floats(p.width, channels) + TAPS * channels);
      const Rows rows(memory, p.width, channels);
      const Weights weights(weight, bias, w_context, first, channels, memory + Rows::floats(p.width, channels));
      forward_block(p, weights, rows, h + image * p.image() + first, band * p.height / bands,
                    (band + 1) * p.height / bands, first ? nullptr : b_context, out + image * p.image() + first,
                    context + image * p.height * p.width);
    }
  }
}

// `grad` is the gradient of `out` without the part through the context, `d_context` that of the context before its
// GELU. Computes `out` again, which may overwrite `grad`; the gradient of h; and per image the gradients of weight (9,
// channels), bias, w_context and of a bias in h: (batch, 12, channels).
extern "C" void moganet_ffn_backward(const Maps* problem, const float* h, const float* weight, const float* bias,
                                     const float* w_context, const float* grad, const float* d_context, float* out,
                                     float* d_h, float* sums) {
  const Maps& p = *problem;
  const int blocks = std::max(ceil_div(p.channels, block_of(p)), ceil_div(p.threads, p.batch));
  const int block = ceil_div(ceil_div(p.channels, blocks), LINE) * LINE;
#pragma omp parallel for num_threads(p.threads) schedule(dynamic) collapse(2)
  for (int i = 0; i < p.batch; ++i)
    for (int first = 0; first < p.channels; first += block) {
      const int channels = std::min(block, p.channels - first);
      const size_t at = i * p.image() + first, size = Rows::floats(p.width, channels);
      float* const memory = scratch(2 * size + (TAPS + SUMS) * channels);
      const Rows rows(memory, p.width, channels), d(memory + size, p.width, channels);
      const Weights weights(weight, bias, w_context, first, channels, memory + 2 * size);
      float* const own = memory + 2 * size + TAPS * channels;
      std::fill_n(own, SUMS * channels, 0.f);
      const Sums own_sums(own, channels);
      rows.read(h + at, 0, p.height, p.channels);
      for (int y = 0; y <= p.height; ++y) {
        if (y < p.height) {
          rows.read(h + at, y + 1, p.height, p.channels);
          backward_row(p, weights, rows, d, y, grad + at, d_context + size_t(i) * p.height * p.width, out + at,
                       own_sums);
        } else {
          std::fill_n(d.at(y), size_t(p.width) * channels, 0.f);
        }
        if (y) convolve_back(p, weights, d, y - 1, d_h + at, own_sums);
      }
      for (int k = 0; k < SUMS; ++k)
        std::copy_n(own + k * channels, channels, sums + (size_t(i) * SUMS + k) * p.channels + first);
    }
}

}  // namespace moganet
