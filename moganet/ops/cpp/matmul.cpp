// x W of maps with channels last. The thread that uses a panel of weights packs it. Packing takes little time beside
// hundreds of pixels that are multiplied with the panel.

#include <algorithm>
#include <utility>

#include "kernels.h"
#include "vectors.h"

namespace moganet {
namespace {

// ROWS pixels times COLUMNS outputs fill the registers. A panel of weights of DEPTH inputs stays in the first-level
// cache beside contiguous rows of x, one of STRIDED_DEPTH beside rows that lie apart. TILE floats of a map stay in the
// second.
constexpr int ROWS = REGISTERS > 16 ? 8 : 6, COLUMNS = 2 * WIDEST, DEPTH = 320, STRIDED_DEPTH = 256, TILE = 1 << 17;
// Tasks per thread; more than one, so that a busy core takes fewer.
constexpr int TASKS = 8;

// Address to prefetch while multiplying; it moves on by `step` floats for each input.
struct Prefetched {
  const float* at;
  int step;
};

// Interleaves the lanes of the lower or upper half of a and b.
template <int from, int... lane>
Floats<WIDEST> interleave(Floats<WIDEST> a, Floats<WIDEST> b, std::integer_sequence<int, lane...>) {
  return __builtin_shuffle(a, b, typename Types<WIDEST>::Ints{(from + lane / 2 + lane % 2 * WIDEST)...});
}

// Transposes a square of WIDEST vectors.
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

// Packs weights (inputs, outputs) of some inputs and up to COLUMNS outputs, padded with zeros.
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

// Packs weights (outputs, inputs) in the same way.
void pack_transposed(const float* w, int stride, int inputs, int outputs, float* out) {
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

// Multiplies R pixels with a panel and adds the result to `start`, a bias, or if that is null to `out`.
template <int R>
void multiply(const float* x, int stride, const float* panel, int inputs, const float* start, float* out,
              int out_stride, Prefetched next) {
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
    prefetch<COLUMNS>(next.at);
    next.at += next.step;
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

// Multiplies some pixels with one panel, of which `columns` outputs exist. The first pixels prefetch the next weights,
// the others the next pixels if these are contiguous.
void multiply_panel(const float* x, int stride, int pixels, const float* panel, int inputs, const float* start,
                    float* out, int out_stride, int columns, Prefetched weights) {
  const int groups = ceil_div(pixels, ROWS);
  const bool contiguous = inputs == stride;
  float edge[ROWS * COLUMNS] = {};
  for (int g = 0; g < groups; ++g) {
    const int row = bound(pixels, groups, g), rows = bound(pixels, groups, g + 1) - row;
    const float* from = x + size_t(row) * stride;
    float* to = out + size_t(row) * out_stride;
    Prefetched next = {panel, 0};
    if (!g) next = weights;
    else if (contiguous) next = {from + size_t(rows) * stride, ROWS};
    if (columns == COLUMNS) {
      multiply_rows(rows, from, stride, panel, inputs, start, to, out_stride, next);
      continue;
    }
    for (int r = 0; r < rows; ++r)
      std::copy_n(start ? start : to + size_t(r) * out_stride, columns, edge + r * COLUMNS);
    multiply_rows(rows, from, stride, panel, inputs, (const float*)nullptr, edge, COLUMNS, next);
    for (int r = 0; r < rows; ++r) std::copy_n(edge + r * COLUMNS, columns, to + size_t(r) * out_stride);
  }
}

// Multiplies some pixels for some outputs.
void multiply_tile(const Matmul& p, const float* x, const float* w, const float* bias, float* out, int from, int to,
                   int first, int last) {
  const int blocks = p.inputs <= DEPTH ? 1 : ceil_div(p.inputs, STRIDED_DEPTH);
  alignas(LINE * sizeof(float)) float panel[DEPTH * COLUMNS];
  for (int b = 0; b < blocks; ++b) {
    const int k = bound(p.inputs, blocks, b), depth = bound(p.inputs, blocks, b + 1) - k;
    for (int c = first; c < last; c += COLUMNS) {
      const int columns = std::min(COLUMNS, last - c);
      const float* const weights = w + (p.transposed ? size_t(c) * p.stride + k : size_t(k) * p.stride + c);
      (p.transposed ? pack_transposed : pack)(weights, p.stride, depth, columns, panel);
      multiply_panel(x + size_t(from) * p.inputs + k, p.inputs, to - from, panel, depth,
                     b || !bias ? nullptr : bias + c, out + size_t(from) * p.outputs + c, p.outputs, columns,
                     p.transposed ? Prefetched{weights + size_t(COLUMNS) * p.stride, COLUMNS}
                                  : Prefetched{weights + COLUMNS, p.stride});
    }
  }
}

}  // namespace

// out = x w + bias, or with a null bias, out += x w.
extern "C" void moganet_matmul(const Matmul* problem, const float* x, const float* w, const float* bias,
                                float* out) {
  const Matmul& p = *problem;
  const int panels = ceil_div(p.outputs, COLUMNS);
  const int by_pixels = ceil_div(p.pixels, std::max(64, TILE / std::min(p.inputs, DEPTH)));
  const int by_outputs = std::min(panels, ceil_div(TASKS * p.threads, by_pixels));
#pragma omp parallel for num_threads(p.threads) schedule(dynamic) collapse(2)
  for (int i = 0; i < by_pixels; ++i)
    for (int j = 0; j < by_outputs; ++j)
      multiply_tile(p, x, w, bias, out, bound(p.pixels, by_pixels, i),
                    bound(p.pixels, by_pixels, i + 1), bound(panels, by_outputs, j) * COLUMNS,
                    std::min(p.outputs, bound(panels, by_outputs, j + 1) * COLUMNS));
}

}  // namespace moganet
