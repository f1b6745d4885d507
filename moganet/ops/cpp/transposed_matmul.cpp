// a^T b of two maps with their channels last, which is the gradient of a product's weights. Both are read as they lie:
// a general product would turn one of them first, which takes a third as long as multiplying.

#include <algorithm>

#include "kernels.h"
#include "vectors.h"

namespace moganet {
namespace {

// What registers hold at once: rows of the result, and two vectors of its columns.
constexpr int ROWS = REGISTERS > 16 ? 8 : 6, COLUMNS = 2 * WIDEST;
// Pixels whose panels are in the cache at once, and columns that one thread takes on.
constexpr int PIXELS = 144, SPAN = 512;

// Floats of a panel. Were they a power of 2, all panels would compete for the same places in the cache.
constexpr int panel(int width) { return PIXELS * width + LINE; }

// Columns of some pixels, in panels of `width` columns each, the last one filled with zeros.
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

// The product of two panels into a part of the result, of which `rows` and `columns` are there; `first` or added to it.
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

// Columns `first` to `last` of a^T b over some pixels, into rows that lie `stride` apart or added to them.
void transposed_matmul(const TransposedMatmul& p, const float* a, const float* b, int from, int to, int first, int last, float* out,
               int stride, bool add) {
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

// a (pixels, left), b (pixels, right). Where there are too few columns to share, threads have pixels to sum up instead.
extern "C" void moganet_transposed_matmul(const TransposedMatmul* problem, const float* a, const float* b, float* out) {
  const TransposedMatmul& p = *problem;
  const int parts = ceil_div(p.right, COLUMNS) >= p.threads ? 1 : std::min(p.threads, ceil_div(p.pixels, PIXELS));
  const int shares = parts > 1 ? 1 : p.threads * ceil_div(p.right, p.threads * SPAN);
  const int share = ceil_div(ceil_div(p.right, COLUMNS), shares) * COLUMNS;
  const size_t size = size_t(p.left) * p.right;
  std::vector<float> sums(parts > 1 ? parts * size : 0);
#pragma omp parallel for num_threads(p.threads) schedule(dynamic)
  for (int i = 0; i < parts * shares; ++i) {
    const int part = i / shares, first = i % shares * share;
    if (first >= p.right) continue;
    const int last = std::min(p.right, first + share);
    const int from = bound(p.pixels, parts, part), to = bound(p.pixels, parts, part + 1);
    if (parts > 1)
      transposed_matmul(p, a, b, from, to, first, last, sums.data() + part * size, p.right, false);
    else
      transposed_matmul(p, a, b, from, to, first, last, out, p.stride, p.add);
  }
  for (int part = 0; part < parts && parts > 1; ++part)
    for (int r = 0; r < p.left; ++r)
      for (int c = 0; c < p.right; ++c) {
        float& to = out[size_t(r) * p.stride + c];
        to = sums[part * size + size_t(r) * p.right + c] + (part || p.add ? to : 0.f);
      }
}

}  // namespace moganet
