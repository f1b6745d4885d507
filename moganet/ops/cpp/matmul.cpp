// x W of maps with their channels last. Weights are packed by the thread that uses them, which takes little time where
// it has hundreds of pixels to multiply them with.

#include <algorithm>
#include <utility>

#include "kernels.h"
#include "vectors.h"

namespace moganet {
namespace {

// Pixels and outputs that registers hold at once, inputs whose panel of weights stays in the first cache beside rows
// that follow each other or lie apart, and how much of a map stays in the second.
constexpr int ROWS = REGISTERS > 16 ? 8 : 6, COLUMNS = 2 * WIDEST, DEPTH = 320, APART = 256, TILE = 1 << 17;
// Parts of the work per thread, or more: a processor that others use too takes fewer of them.
constexpr int PARTS = 8;

// What is fetched into the cache while others are multiplied: `step` floats further on for each input.
struct Ahead {
  const float* at;
  int step;
};

// The lower or upper halves of a and b, a lane of each in turn.
template <int from, int... lane>
Floats<WIDEST> interleave(Floats<WIDEST> a, Floats<WIDEST> b, std::integer_sequence<int, lane...>) {
  return __builtin_shuffle(a, b, typename Types<WIDEST>::Ints{(from + lane / 2 + lane % 2 * WIDEST)...});
}

// Rows and columns change places.
void transpose(Floats<WIDEST>* rows) {
  constexpr int N = WIDEST, half = N / 2;
  constexpr std::make_integer_sequence<int, N> lanes;
  for (int step = 1; step < N; step *= 2) {
    Floats<N> next[N];
    for (int i = 0; i < half; ++i) {
      next[2 * i] = interleave<0>(rows[i], rows[i + half], lanes);
      next[2 * i + 1] = interleave<half>(rows[i], rows[i + half], lanes);
    }
    std::copy_n(next, N, rows);
  }
}

// Weights of some inputs and up to COLUMNS outputs, (inputs, outputs), filled up with zeros.
void pack(const float* w, int stride, int inputs, int outputs, float* out) {
  for (int k = 0; k < inputs; ++k, w += stride, out += COLUMNS) {
    if (outputs == COLUMNS) {
      std::memcpy(out, w, COLUMNS * sizeof(float));
    } else {
      std::copy_n(w, outputs, out);
      std::fill(out + outputs, out + COLUMNS, 0.f);
    }
  }
}

// The same of (outputs, inputs).
void pack_turned(const float* w, int stride, int inputs, int outputs, float* out) {
  constexpr int N = WIDEST;
  int k = 0;
  if (outputs == COLUMNS)
    for (; k + N <= inputs; k += N)
      for (int c = 0; c < COLUMNS; c += N) {
        Floats<N> rows[N];
        for (int i = 0; i < N; ++i) rows[i] = load<N>(w + size_t(c + i) * stride + k);
        transpose(rows);
        for (int i = 0; i < N; ++i) store<N>(out + (k + i) * COLUMNS + c, rows[i]);
      }
  for (; k < inputs; ++k)
    for (int c = 0; c < COLUMNS; ++c) out[k * COLUMNS + c] = c < outputs ? w[size_t(c) * stride + k] : 0.f;
}

// R pixels times a panel. The result begins with `start`, of all pixels, or is added to.
template <int R>
void multiply(const float* x, int stride, const float* panel, int inputs, const float* start, float* out,
              int out_stride, Ahead ahead) {
  constexpr int N = WIDEST;
  Floats<N> total[R][2];
  for (int r = 0; r < R; ++r) {
    const float* from = start ? start : out + size_t(r) * out_stride;
    prefetch<COLUMNS, true>(out + size_t(r) * out_stride);
    total[r][0] = load<N>(from);
    total[r][1] = load<N>(from + N);
  }
  for (int k = 0; k < inputs; ++k, panel += COLUMNS) {
    const Floats<N> left = load<N>(panel), right = load<N>(panel + N);
    for (int r = 0; r < R; ++r) {
      total[r][0] += x[size_t(r) * stride + k] * left;
      total[r][1] += x[size_t(r) * stride + k] * right;
    }
    prefetch<COLUMNS>(ahead.at);
    ahead.at += ahead.step;
  }
  for (int r = 0; r < R; ++r) {
    store<N>(out + size_t(r) * out_stride, total[r][0]);
    store<N>(out + size_t(r) * out_stride + N, total[r][1]);
  }
}

template <int R = ROWS, class... Arguments>
void multiply_rows(int rows, Arguments... arguments) {
  if (rows == R) return multiply<R>(arguments...);
  if constexpr (R > 1) multiply_rows<R - 1>(rows, arguments...);
}

// Some pixels of one panel of outputs, of which `columns` are there. The first pixels have the weights to come fetched,
// the others the pixels to come, if they lie one after the other.
void multiply_panel(const float* x, int stride, int pixels, const float* panel, int inputs, const float* start,
                    float* out, int out_stride, int columns, Ahead weights) {
  const int groups = ceil_div(pixels, ROWS);
  const bool follow = inputs == stride;
  float edge[ROWS * COLUMNS] = {};
  for (int g = 0; g < groups; ++g) {
    const int row = bound(pixels, groups, g), rows = bound(pixels, groups, g + 1) - row;
    const float* from = x + size_t(row) * stride;
    float* to = out + size_t(row) * out_stride;
    const Ahead ahead = !g ? weights : follow ? Ahead{from + size_t(rows) * stride, ROWS} : Ahead{panel, 0};
    if (columns == COLUMNS) {
      multiply_rows(rows, from, stride, panel, inputs, start, to, out_stride, ahead);
      continue;
    }
    for (int r = 0; r < rows; ++r)
      std::copy_n(start ? start : to + size_t(r) * out_stride, columns, edge + r * COLUMNS);
    multiply_rows(rows, from, stride, panel, inputs, (const float*)nullptr, edge, COLUMNS, ahead);
    for (int r = 0; r < rows; ++r) std::copy_n(edge + r * COLUMNS, columns, to + size_t(r) * out_stride);
  }
}

// Some pixels and outputs of the product.
void multiply_part(const Matmul& p, const float* x, const float* w, const float* bias, float* out, int from, int to,
                   int first, int last) {
  const int blocks = p.inputs <= DEPTH ? 1 : ceil_div(p.inputs, APART);
  alignas(LINE * sizeof(float)) float panel[DEPTH * COLUMNS];
  for (int b = 0; b < blocks; ++b) {
    const int k = bound(p.inputs, blocks, b), depth = bound(p.inputs, blocks, b + 1) - k;
    for (int c = first; c < last; c += COLUMNS) {
      const int columns = std::min(COLUMNS, last - c);
      const float* const weights = w + (p.turned ? size_t(c) * p.stride + k : size_t(k) * p.stride + c);
      (p.turned ? pack_turned : pack)(weights, p.stride, depth, columns, panel);
      multiply_panel(x + size_t(from) * p.inputs + k, p.inputs, to - from, panel, depth,
                     b || !bias ? nullptr : bias + c, out + size_t(from) * p.outputs + c, p.outputs, columns,
                     p.turned ? Ahead{weights + size_t(COLUMNS) * p.stride, COLUMNS}
                              : Ahead{weights + COLUMNS, p.stride});
    }
  }
}

}  // namespace

// out = x w + bias, or without a bias, out += x w.
extern "C" void moganet_matmul(const Matmul* problem, const float* x, const float* w, const float* bias,
                                float* out) {
  const Matmul& p = *problem;
  const int panels = ceil_div(p.outputs, COLUMNS);
  const int by_pixels = ceil_div(p.pixels, std::max(64, TILE / std::min(p.inputs, DEPTH)));
  const int by_outputs = std::min(panels, ceil_div(PARTS * p.threads, by_pixels));
#pragma omp parallel for num_threads(p.threads) schedule(dynamic) collapse(2)
  for (int i = 0; i < by_pixels; ++i)
    for (int j = 0; j < by_outputs; ++j)
      multiply_part(p, x, w, bias, out, bound(p.pixels, by_pixels, i),
                    bound(p.pixels, by_pixels, i + 1), bound(panels, by_outputs, j) * COLUMNS,
                    std::min(p.outputs, bound(panels, by_outputs, j + 1) * COLUMNS));
}

}  // namespace moganet
