// a^T b of two maps with channels last: the gradient of a matmul's weights. Neither map is transposed in memory. A
// general matmul would do so first, which takes a third as long as multiplying.

#include <algorithm>

#include "kernels.h"
#include "vectors.h"

namespace moganet {
namespace {

// Rows and columns of the result that fill the registers.
constexpr int ROWS = REGISTERS > 16 ? 8 : 6, COLUMNS = 2 * WIDEST;
// Pixels whose panels are in the cache at once, and columns of one task.
constexpr int PIXELS = 144, SPAN = 512;

// Floats of a panel. With a power of 2, all panels would be mapped to the same cache sets.
constexpr int panel(int width) { return PIXELS * width + LINE; }

// Packs columns of some pixels into panels of `width` columns each, the last one padded with zeros.
template <int width>
void pack(const float* x, int stride, int pixels, int columns, float* out) {
  for (int p = 0; p < pixels; ++p, x += stride, out += width) {
    float* to = out;
    int c = 0;
    for (; c + width <= columns; c += width, to += panel(width)) std::memcpy(to, x + c, width * sizeof(float));
    if (c == columns) continue;
    std::copy_n(x + c, columns - c, to);
    std::fill_n(to + columns - c, width - columns + c, 0.f);
  }
}

// Multiplies two panels into a tile of the result, of which `rows` and `columns` exist. `first` overwrites the tile,
// else the product is added.
void multiply(const float* a, const float* b, int pixels, float* out, int stride, int rows, int columns, bool first) {
  constexpr int N = WIDEST;
  Floats<N> total[ROWS][2] = {};
  for (int i = 0; i < rows; ++i) prefetch<COLUMNS, true>(out + size_t(i) * stride);
  for (int p = 0; p < pixels; ++p, a += ROWS, b += COLUMNS) {
    const Floats<N> left = load<N>(b), right = load<N>(b + N);
    __builtin_prefetch(a + panel(ROWS));
    for (int i = 0; i < ROWS; ++i) {
      total[i][0] += a[i] * left;
      total[i][1] += a[i] * right;
    }
  }
  if (rows == ROWS && columns == COLUMNS) {
    for (int i = 0; i < ROWS; ++i)
      for (int j = 0; j < 2; ++j) {
        float* const to = out + size_t(i) * stride + j * N;
        store<N>(to, first ? total[i][j] : load<N>(to) + total[i][j]);
      }
    return;
  }
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) {
      float& to = out[size_t(i) * stride + j];
      to = total[i][j / N][j % N] + (first ? 0.f : to);
    }
}

// Columns `first` to `last` of a^T b over pixels `from` to `to`, with rows of the result `stride` apart; `add`
// accumulates.
void multiply_columns(const TransposedMatmul& p, const float* a, const float* b, int from, int to, int first, int last,
                      float* out, int stride, bool add) {
  const int columns = last - first, chunks = ceil_div(to - from, PIXELS);
  const size_t size_b = size_t(ceil_div(columns, COLUMNS)) * panel(COLUMNS);
  float* const packed_b = scratch(size_b + size_t(ceil_div(p.left, ROWS)) * panel(ROWS));
  float* const packed_a = packed_b + size_b;
  for (int i = 0; i < chunks; ++i) {
    const int pixel = from + bound(to - from, chunks, i), some = from + bound(to - from, chunks, i + 1) - pixel;
    pack<ROWS>(a + size_t(pixel) * p.left, p.left, some, p.left, packed_a);
    pack<COLUMNS>(b + size_t(pixel) * p.right + first, p.right, some, columns, packed_b);
    for (int c = 0; c < columns; c += COLUMNS)
      for (int r = 0; r < p.left; r += ROWS)
        multiply(packed_a + size_t(r / ROWS) * panel(ROWS), packed_b + size_t(c / COLUMNS) * panel(COLUMNS), some,
                 out + size_t(r) * stride + first + c, stride, std::min(ROWS, p.left - r),
                 std::min(COLUMNS, columns - c), i == 0 && !add);
  }
}

}  // namespace

// a (pixels, left), b (pixels, right). If there are fewer panels of columns than threads, threads split the pixels and
// their sums are added up.
extern "C" void moganet_transposed_matmul(const TransposedMatmul* problem, const float* a, const float* b, float* out) {
  const TransposedMatmul& p = *problem;
  const int splits = ceil_div(p.right, COLUMNS) >= p.threads ? 1 : std::min(p.threads, ceil_div(p.pixels, PIXELS));
  const int spans = splits > 1 ? 1 : p.threads * ceil_div(p.right, p.threads * SPAN);
  const int span = ceil_div(ceil_div(p.right, COLUMNS), spans) * COLUMNS;
  const size_t size = size_t(p.left) * p.right;
  std::vector<float> sums(splits > 1 ? splits * size : 0);
#pragma omp parallel for num_threads(p.threads) schedule(dynamic)
  for (int i = 0; i < splits * spans; ++i) {
    const int split = i / spans, first = i % spans * span;
    if (first >= p.right) continue;
    const int last = std::min(p.right, first + span);
    const int from = bound(p.pixels, splits, split), to = bound(p.pixels, splits, split + 1);
    if (splits > 1)
      multiply_columns(p, a, b, from, to, first, last, sums.data() + split * size, p.right, false);
    else
      multiply_columns(p, a, b, from, to, first, last, out, p.stride, p.add);
  }
  for (int split = 0; split < splits && splits > 1; ++split)
    for (int r = 0; r < p.left; ++r)
      for (int c = 0; c < p.right; ++c) {
        float& to = out[size_t(r) * p.stride + c];
        to = sums[split * size + size_t(r) * p.right + c] + (split || p.add ? to : 0.f);
      }
}

}  // namespace moganet
