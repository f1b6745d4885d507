// Element-wise steps of a block: activations, gate and shortcuts, and their gradients with sums over pixels. Each pass
// touches every element once. Maps are (pixels, channels).

#include <algorithm>
#include <numeric>

#include "kernels.h"
#include "vectors.h"

namespace moganet {
namespace {

// Number of chunks that an image is split into, so that all threads have the same amount of work.
int chunks_of(const Pixels& p) { return std::max(1, std::min(p.pixels, p.threads / std::gcd(p.batch, p.threads))); }

// Calls body(pixel, image, sums) for all pixels. `sums` has `count` rows of (channels) for each chunk of each image.
template <class Body>
void for_pixels(const Pixels& p, int count, float* sums, Body body) {
  const int chunks = chunks_of(p);
#pragma omp parallel for num_threads(p.threads) schedule(static)
  for (int i = 0; i < p.batch * chunks; ++i) {
    const size_t start = size_t(i / chunks) * p.pixels, chunk = i % chunks;
    float* const own = sums + size_t(i) * count * p.channels;
    std::fill_n(own, size_t(count) * p.channels, 0.f);
    const size_t first = start + chunk * p.pixels / chunks, last = start + (chunk + 1) * p.pixels / chunks;
    for (size_t pixel = first; pixel < last; ++pixel) body(pixel, i / chunks, own);
  }
}

// Calls body(vector width, element, image, channel, sums) for all elements.
template <class Body>
void for_elements(const Pixels& p, int count, float* sums, Body body) {
  for_pixels(p, count, sums, [&](size_t pixel, int image, float* own) {
    for_channels(0, p.channels, [&](auto lanes, int c) { body(lanes, pixel * p.channels + c, image, c, own); });
  });
}

// One SiLU of J vectors, or two in turn, and the slope.
template <int N, int J>
struct Factor {
  Floats<N> value[J], slope[J];
  Factor(const float* x, bool double_gate) {
    for (int j = 0; j < J; ++j) value[j] = load<N>(x + j * N), slope[j] = all<N>(1.f);
    step();
    if (double_gate) step();
  }
  void step() {
    Floats<N> gate[J];
    for (int j = 0; j < J; ++j) gate[j] = value[j];
    sigmoid<N, J>(gate);
    for (int j = 0; j < J; ++j) {
      const Floats<N> x = value[j];
      value[j] = x * gate[j];
      slope[j] *= gate[j] * (1.f + x - value[j]);
    }
  }
};

}  // namespace

extern "C" int moganet_chunks(const Pixels* p) { return chunks_of(*p); }

// Sums of x over each chunk of an image (batch, chunks, channels).
extern "C" void moganet_sum(const Pixels* p, const float* x, float* sums) {
  for_elements(*p, 1, sums, [&](auto lanes, size_t at, int, int c, float* own) {
    constexpr int N = decltype(lanes)::value;
    add_to<N>(own + c, load<N>(x + at));
  });
}

// q += bias (batch, channels), which may be null; u = SiLU(q). q and u may be the same map.
extern "C" void moganet_silu(const Pixels* p, float* q, const float* bias, float* u) {
  for_pixels(*p, 0, nullptr, [&](size_t pixel, int image, float*) {
    for_groups<4>(p->channels, [&](auto lanes, auto count, int c) {
      constexpr int N = decltype(lanes)::value, J = decltype(count)::value;
      const size_t at = pixel * p->channels + c;
      if (bias)
        for (int j = 0; j < J; ++j) add_to<N>(q + at + j * N, load<N>(bias + image * size_t(p->channels) + c + j * N));
      const Factor<N, J> factor(q + at, false);
      for (int j = 0; j < J; ++j) store<N>(u + at + j * N, factor.value[j]);
    });
  });
}

// d = (a + b) SiLU'(q), which may overwrite a; sums of d (batch, chunks, channels).
extern "C" void moganet_silu_backward(const Pixels* p, const float* a, const float* b, const float* q, float* d,
                                      float* sums) {
  for_elements(*p, 1, sums, [&](auto lanes, size_t at, int, int c, float* own) {
    constexpr int N = decltype(lanes)::value;
    const Floats<N> grad = (load<N>(a + at) + load<N>(b + at)) * Factor<N, 1>(q + at, false).slope[0];
    store<N>(d + at, grad);
    add_to<N>(own + c, grad);
  });
}

// out = SiLU(g) SiLU(v); with `double_gate`, both SiLUs twice. `out` may overwrite g or v.
extern "C" void moganet_gate(const Pixels* p, const float* g, const float* v, int double_gate, float* out) {
  for_pixels(*p, 0, nullptr, [&](size_t pixel, int, float*) {
    for_groups<2>(p->channels, [&](auto lanes, auto count, int c) {
      constexpr int N = decltype(lanes)::value, J = decltype(count)::value;
      const size_t at = pixel * p->channels + c;
      const Factor<N, J> a(g + at, double_gate), b(v + at, double_gate);
      for (int j = 0; j < J; ++j) store<N>(out + at + j * N, a.value[j] * b.value[j]);
    });
  });
}

// From the gradient d of `out`: `out` again, the gradients of g and v, one of which may overwrite d, and their sums
// (batch, chunks, 2, channels).
extern "C" void moganet_gate_backward(const Pixels* p, const float* d, const float* g, const float* v, int double_gate,
                                      float* out, float* d_g, float* d_v, float* sums) {
  for_elements(*p, 2, sums, [&](auto lanes, size_t at, int, int c, float* own) {
    constexpr int N = decltype(lanes)::value;
    const Factor<N, 1> a(g + at, double_gate), b(v + at, double_gate);
    const Floats<N> grad = load<N>(d + at);
    const Floats<N> grad_g = grad * b.value[0] * a.slope[0], grad_v = grad * a.value[0] * b.slope[0];
    store<N>(out + at, a.value[0] * b.value[0]);
    store<N>(d_g + at, grad_g);
    store<N>(d_v + at, grad_v);
    add_to<N>(own + c, grad_g);
    add_to<N>(own + p->channels + c, grad_v);
  });
}

// out = x + mask (t + n scale), mask (batch) or null. `out` may overwrite t.
extern "C" void moganet_add_spatial(const Pixels* p, const float* t, const float* x, const float* n,
                                    const float* scale, const float* mask, float* out) {
  for_elements(*p, 0, nullptr, [&](auto lanes, size_t at, int image, int c, float*) {
    constexpr int N = decltype(lanes)::value;
    const Floats<N> branch = load<N>(t + at) + load<N>(n + at) * load<N>(scale + c);
    store<N>(out + at, load<N>(x + at) + branch * (mask ? mask[image] : 1.f));
  });
}

// out = x + mask (t - GELU(context) subtracted), context (pixels). `out` may overwrite t.
extern "C" void moganet_add_channel(const Pixels* p, const float* t, const float* x, const float* context,
                                    const float* subtracted, const float* mask, float* out) {
  for_pixels(*p, 0, nullptr, [&](size_t pixel, int image, float*) {
    Floats<1> shared = {context[pixel]};
    gelu<1, 1>(&shared);
    const float keep = mask ? mask[image] : 1.f;
    for_channels(0, p->channels, [&](auto lanes, int c) {
      constexpr int N = decltype(lanes)::value;
      const size_t at = pixel * p->channels + c;
      store<N>(out + at, load<N>(x + at) + (load<N>(t + at) - shared[0] * load<N>(subtracted + c)) * keep);
    });
  });
}

// From the gradient of out = x + mask (t + n scale): d, the gradient of t, not written without a mask since it equals
// `grad`; and the sums (batch, chunks, 2, channels) of d and of d n.
extern "C" void moganet_shortcut_backward(const Pixels* p, const float* grad, const float* n, const float* mask,
                                          float* d, float* sums) {
  for_elements(*p, 2, sums, [&](auto lanes, size_t at, int image, int c, float* own) {
    constexpr int N = decltype(lanes)::value;
    Floats<N> x = load<N>(grad + at);
    if (mask) store<N>(d + at, x = x * mask[image]);
    add_to<N>(own + c, x);
    add_to<N>(own + p->channels + c, x * load<N>(n + at));
  });
}

// out = t + d scale.
extern "C" void moganet_add_scaled(const Pixels* p, const float* t, const float* d, const float* scale, float* out) {
  for_elements(*p, 0, nullptr, [&](auto lanes, size_t at, int, int c, float*) {
    constexpr int N = decltype(lanes)::value;
    store<N>(out + at, load<N>(t + at) + load<N>(d + at) * load<N>(scale + c));
  });
}

// From the gradient of out = x + mask (t - GELU(context) subtracted): d, the gradient of t, not written without a mask
// since it equals `grad`; the gradient of context (pixels); the sums (batch, chunks, 2, channels) of d and of
// d GELU(context).
extern "C" void moganet_context_backward(const Pixels* p, const float* grad, const float* context,
                                         const float* subtracted, const float* mask, float* d, float* d_context,
                                         float* sums) {
  for_pixels(*p, 2, sums, [&](size_t pixel, int image, float* own) {
    Floats<1> shared = {context[pixel]}, slope;
    gelu_with_slope<1, 1>(&shared, &slope);
    const float keep = mask ? mask[image] : 1.f;
    float dots[WIDEST] = {};
    for_channels(0, p->channels, [&](auto lanes, int c) {
      constexpr int N = decltype(lanes)::value;
      const size_t at = pixel * p->channels + c;
      const Floats<N> x = load<N>(grad + at) * keep;
      if (mask) store<N>(d + at, x);
      add_to<N>(own + c, x);
      add_to<N>(own + p->channels + c, x * shared[0]);
      add_to<N>(dots, x * load<N>(subtracted + c));
    });
    d_context[pixel] = -sum<WIDEST>(load<WIDEST>(dots)) * slope[0];
  });
}

}  // namespace moganet
