// The last product of a channel half has layer scale and gamma_c in its weights: both directions in one pass over them.

#include "kernels.h"
#include "vectors.h"

namespace moganet {

// out = scale w (1 + sigma) and subtracted = the sums over columns of scale w sigma, w (rows, columns).
extern "C" void moganet_fold(const Matrix* p, const float* w, const float* scale, const float* sigma, float* out,
                             float* subtracted) {
#pragma omp parallel for num_threads(p->threads) schedule(static)
  for (int r = 0; r < p->rows; ++r) {
    const float* const from = w + size_t(r) * p->columns;
    float* const to = out + size_t(r) * p->columns;
    float dots[WIDEST] = {};
    for_channels(0, p->columns, [&](auto lanes, int c) {
      constexpr int N = decltype(lanes)::value;
      const Floats<N> scaled = scale[r] * load<N>(from + c), part = scaled * load<N>(sigma + c);
      store<N>(to + c, scaled + part);
      add_to<N>(dots, part);
    });
    subtracted[r] = sum<WIDEST>(load<WIDEST>(dots));
  }
}

// From m, the gradient of `out`, and `shared`, that of -subtracted: the gradient of w, which takes the place of m, that
// of scale, and parts of that of sigma (threads, columns).
extern "C" void moganet_fold_backward(const Matrix* p, float* m, const float* shared, const float* w,
                                      const float* scale, const float* sigma, float* d_scale, float* d_sigma) {
#pragma omp parallel for num_threads(p->threads) schedule(static)
  for (int t = 0; t < p->threads; ++t) {
    float* const own = d_sigma + size_t(t) * p->columns;
    for (int c = 0; c < p->columns; ++c) own[c] = 0;
    for (int r = int(int64_t(p->rows) * t / p->threads); r < int(int64_t(p->rows) * (t + 1) / p->threads); ++r) {
      float* const row = m + size_t(r) * p->columns;
      float dots[WIDEST] = {};
      for_channels(0, p->columns, [&](auto lanes, int c) {
        constexpr int N = decltype(lanes)::value;
        const Floats<N> through = load<N>(row + c) - shared[r], weight = load<N>(w + size_t(r) * p->columns + c);
        const Floats<N> unscaled = load<N>(row + c) + through * load<N>(sigma + c);
        add_to<N>(own + c, scale[r] * through * weight);
        add_to<N>(dots, unscaled * weight);
        store<N>(row + c, unscaled * scale[r]);
      });
      d_scale[r] = sum<WIDEST>(load<WIDEST>(dots));
    }
  }
}

}  // namespace moganet
