// What lies between the two products of a channel half: depthwise 3x3 and GELU, and the one channel of Eq. 10 that is
// read from them. Bands of rows of an image at a time, all channels of a few neighbouring pixels together.

#include <algorithm>
#include <numeric>

#include "kernels.h"
#include "vectors.h"

namespace moganet {
namespace {

constexpr int TAPS = 9;

// Bands per image, so that threads have the same to do. Of 2 rows or more: each computes two of its neighbours' again.
int bands_of(const Maps& p) {
  return std::max(1, std::min(p.height / 2, p.threads / std::gcd(p.batch, p.threads)));
}

// Calls body(image, first row, last row, number of the band) for all bands.
template <class Body>
void for_bands(const Maps& p, Body body) {
  const int bands = bands_of(p);
#pragma omp parallel for num_threads(p.threads) schedule(dynamic)
  for (int i = 0; i < p.batch * bands; ++i)
    body(i / bands, i % bands * p.height / bands, (i % bands + 1) * p.height / bands, i);
}

// Weights (channels, 9) with the channels last.
std::vector<float> channels_last(const float* weight, int channels, int threads) {
  std::vector<float> taps(TAPS * size_t(channels));
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int c = 0; c < channels; ++c)
    for (int k = 0; k < TAPS; ++k) taps[k * size_t(channels) + c] = weight[c * TAPS + k];
  return taps;
}

// The pixels around J neighbours of a row; zeros where there are none. `rows` are those above, at and below.
template <int J>
struct Window {
  const float* at[3][J + 2];
  Window(const float* const rows[3], const float* zeros, int x, int width, int channels) {
    for (int y = 0; y < 3; ++y)
      for (int i = 0; i < J + 2; ++i) {
        const int column = x + i - 1;
        const bool inside = rows[y] && column >= 0 && column < width;
        at[y][i] = inside ? rows[y] + size_t(column) * channels : zeros;
      }
  }
};

template <int N, int J>
inline void convolve(const Window<J>& window, const float* taps, int channels, int c, bool turned, Floats<N>* total) {
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 3; ++x) {
      const int k = 3 * y + x;
      const Floats<N> w = load<N>(taps + (turned ? TAPS - 1 - k : k) * size_t(channels) + c);
      for (int j = 0; j < J; ++j) total[j] += w * load<N>(window.at[y][x + j] + c);
    }
}

// Calls body(count, first column) for a row, four neighbours at a time.
template <class Body>
inline void for_columns(int width, Body body) {
  int x = 0;
  for (; x + 4 <= width; x += 4) body(std::integral_constant<int, 4>(), x);
  if (x + 2 <= width) body(std::integral_constant<int, 2>(), x), x += 2;
  if (x < width) body(std::integral_constant<int, 1>(), x);
}

void rows_around(const float* image, int y, const Maps& p, const float* rows[3]) {
  for (int i = 0; i < 3; ++i) {
    const int row = y + i - 1;
    rows[i] = row >= 0 && row < p.height ? image + size_t(row) * p.width * p.channels : nullptr;
  }
}

struct Weights {
  const float *taps, *bias, *context;
};

template <int J>
void forward_some(const float* const rows[3], const float* zeros, int x, const Maps& p, const Weights& w,
                  const float* bias, float* out, float* context) {
  const Window<J> window(rows, zeros, x, p.width, p.channels);
  float dots[J][WIDEST] = {};
  for_channels(0, p.channels, [&](auto lanes, int c) {
    constexpr int N = decltype(lanes)::value;
    Floats<N> total[J];
    for (int j = 0; j < J; ++j) total[j] = load<N>(w.bias + c);
    convolve<N, J>(window, w.taps, p.channels, c, false, total);
    for (int j = 0; j < J; ++j) {
      const Floats<N> g = Gelu<N>(total[j]).value;
      store<N>(out + size_t(x + j) * p.channels + c, g);
      add_to<N>(dots[j], g * load<N>(w.context + c));
    }
  });
  for (int j = 0; j < J; ++j) context[x + j] = sum<WIDEST>(load<WIDEST>(dots[j])) + (bias ? *bias : context[x + j]);
}

// The gradients of one band, beside its map's: each (channels), of the taps (9, channels).
struct Sums {
  float *taps, *bias, *context, *hidden;
  Sums(float* memory, int channels)
      : taps(memory), bias(memory + TAPS * channels), context(bias + channels), hidden(context + channels) {}
};
constexpr int SUMS = TAPS + 3;

// What a row gives before it is convolved back: `d`, the gradient before GELU. Sums are of rows of the band only.
template <int J>
void backward_some(const float* const rows[3], const float* zeros, int x, const Maps& p, const Weights& w,
                   const float* grad, const float* d_context, float* g, float* d, const Sums* sums) {
  const Window<J> window(rows, zeros, x, p.width, p.channels);
  for_channels(0, p.channels, [&](auto lanes, int c) {
    constexpr int N = decltype(lanes)::value;
    Floats<N> total[J], slopes = {}, contexts = {};
    for (int j = 0; j < J; ++j) total[j] = load<N>(w.bias + c);
    convolve<N, J>(window, w.taps, p.channels, c, false, total);
    for (int j = 0; j < J; ++j) {
      const size_t at = size_t(x + j) * p.channels + c;
      const Gelu<N> gelu(total[j]);
      total[j] = (load<N>(grad + at) + d_context[x + j] * load<N>(w.context + c)) * gelu.slope;
      store<N>(d + at, total[j]);
      if (sums) {
        store<N>(g + at, gelu.value);
        contexts += d_context[x + j] * gelu.value;
        slopes += total[j];
      }
    }
    if (!sums) return;
    add_to<N>(sums->bias + c, slopes);
    add_to<N>(sums->context + c, contexts);
    for (int k = 0; k < TAPS; ++k) {
      Floats<N> tap = load<N>(sums->taps + k * size_t(p.channels) + c);
      for (int j = 0; j < J; ++j) tap += total[j] * load<N>(window.at[k / 3][k % 3 + j] + c);
      store<N>(sums->taps + k * size_t(p.channels) + c, tap);
    }
  });
}

template <int J>
void convolve_back(const float* const rows[3], const float* zeros, int x, const Maps& p, const float* taps,
                   float* out, float* sums) {
  const Window<J> window(rows, zeros, x, p.width, p.channels);
  for_channels(0, p.channels, [&](auto lanes, int c) {
    constexpr int N = decltype(lanes)::value;
    Floats<N> total[J] = {}, all = {};
    convolve<N, J>(window, taps, p.channels, c, true, total);
    for (int j = 0; j < J; ++j) {
      store<N>(out + size_t(x + j) * p.channels + c, total[j]);
      all += total[j];
    }
    add_to<N>(sums + c, all);
  });
}

}  // namespace

// out = GELU(dw(h) + bias), context = out . w + b, or without a b, context += out . w. Maps have all channels or one.
extern "C" void moganet_ffn(const Maps* problem, const float* h, const float* weight, const float* bias,
                            const float* w_context, const float* b_context, float* out, float* context) {
  const Maps& p = *problem;
  const std::vector<float> taps = channels_last(weight, p.channels, p.threads), zeros(p.channels);
  const Weights weights = {taps.data(), bias, w_context};
#pragma omp parallel for num_threads(p.threads) schedule(dynamic)
  for (int i = 0; i < p.batch * p.height; ++i) {
    const float* rows[3];
    rows_around(h + i / p.height * p.image(), i % p.height, p, rows);
    const size_t row = size_t(i) * p.width;
    for_columns(p.width, [&](auto count, int x) {
      forward_some<decltype(count)::value>(rows, zeros.data(), x, p, weights, b_context, out + row * p.channels,
                                           context + row);
    });
  }
}

// From the gradient of `out`, but for what comes through the context, and from that of the context before its GELU:
// `out` once more, the gradient of h, and per band the sums that are the gradients of weight (9, channels), bias,
// w_context and of the bias that was added to h. `sums` is (batch * bands, 12, channels).
extern "C" void moganet_ffn_backward(const Maps* problem, const float* h, const float* weight, const float* bias,
                                     const float* w_context, const float* grad, const float* d_context, float* out,
                                     float* d_h, float* sums) {
  const Maps& p = *problem;
  const std::vector<float> taps = channels_last(weight, p.channels, p.threads), zeros(p.channels);
  const Weights weights = {taps.data(), bias, w_context};
  const size_t width = size_t(p.width) * p.channels;
  for_bands(p, [&](int i, int first, int last, int band) {
    float* const ring = scratch(3 * width);
    float* const own = sums + band * size_t(SUMS) * p.channels;
    std::fill_n(own, SUMS * size_t(p.channels), 0.f);
    const Sums band_sums(own, p.channels);
    for (int y = std::max(0, first - 1); y <= last; ++y) {
      const float* rows[3];
      if (y < p.height) {
        rows_around(h + i * p.image(), y, p, rows);
        const size_t row = (size_t(i) * p.height + y) * p.width;
        const bool inside = y >= first && y < last;
        for_columns(p.width, [&](auto count, int x) {
          backward_some<decltype(count)::value>(rows, zeros.data(), x, p, weights, grad + row * p.channels,
                                                d_context + row, out + row * p.channels, ring + y % 3 * width,
                                                inside ? &band_sums : nullptr);
        });
      }
      if (y <= first) continue;
      for (int k = 0; k < 3; ++k) {
        const int from = y - 2 + k;
        rows[k] = from >= 0 && from < p.height ? ring + from % 3 * width : nullptr;
      }
      float* to = d_h + i * p.image() + (y - 1) * width;
      for_columns(p.width, [&](auto count, int x) {
        convolve_back<decltype(count)::value>(rows, zeros.data(), x, p, taps.data(), to, band_sums.hidden);
      });
    }
  });
}

extern "C" int moganet_ffn_bands(const Maps* p) { return p->batch * bands_of(*p); }

}  // namespace moganet
