// Vectors of N floats, and the functions of vectors that MogaNet's blocks need.
//
// GCC compiles these types to the vector instructions of the target processor, whatever their width.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <vector>

namespace moganet {

// Floats of the widest vector, and the number of its registers.
#if defined(__AVX512F__)
constexpr int WIDEST = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int WIDEST = 8, REGISTERS = 16;
#else
constexpr int WIDEST = 4, REGISTERS = 16;
#endif

template <int N>
struct Types {
  typedef float Floats __attribute__((vector_size(N * 4)));
  typedef int32_t Ints __attribute__((vector_size(N * 4)));
  typedef float Unaligned __attribute__((vector_size(N * 4), aligned(4)));
};
template <int N>
using Floats = typename Types<N>::Floats;

template <int N>
inline Floats<N> load(const float* p) {
  return *reinterpret_cast<const typename Types<N>::Unaligned*>(p);
}

template <int N>
inline void store(float* p, Floats<N> x) {
  *reinterpret_cast<typename Types<N>::Unaligned*>(p) = x;
}

template <int N>
inline void add_to(float* p, Floats<N> x) {
  store<N>(p, load<N>(p) + x);
}

template <int N>
inline float sum(Floats<N> x) {
  float total = 0;
  for (int i = 0; i < N; ++i) total += x[i];
  return total;
}

inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Start of part i when `total` is split into n parts whose sizes differ by one at most.
inline int bound(int total, int n, int i) { return int(int64_t(total) * i / n); }

// Calls body(vector width, channel) for the channels from `first` to `last`, with vectors as wide as fit.
template <int N = WIDEST, class Body>
inline void for_channels(int first, int last, Body body) {
  int c = first;
  for (; c + N <= last; c += N) body(std::integral_constant<int, N>(), c);
  if constexpr (N > 1)
    if (c < last) for_channels<(N > 4 ? N / 2 : 1)>(c, last, body);
}

// Calls body(vector width, count, channel) with J vectors at once, and with single vectors for the rest.
template <int J, class Body>
inline void for_groups(int last, Body body) {
  int c = 0;
  for (; c + J * WIDEST <= last; c += J * WIDEST)
    body(std::integral_constant<int, WIDEST>(), std::integral_constant<int, J>(), c);
  for_channels(c, last, [&](auto lanes, int first) { body(lanes, std::integral_constant<int, 1>(), first); });
}

template <int N>
inline Floats<N> all(float x) {
  return Floats<N>{} + x;
}

template <int N>
inline Floats<N> abs(Floats<N> x) {
  typename Types<N>::Ints bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits &= 0x7fffffff;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// The functions below compute J vectors step by step. Each step depends on the one before it; the other vectors fill
// the latency.

// p = p x + each coefficient in turn.
template <int N, int J>
[[gnu::always_inline]] inline void polynomial(Floats<N>* p, const Floats<N>* x,
                                              std::initializer_list<float> coefficients) {
  for (const float a : coefficients)
    for (int j = 0; j < J; ++j) p[j] = p[j] * x[j] + a;
}

// e^x in place, for x below 88, right to 2 units in the last place. Below -87 it is e^-87.
template <int N, int J>
[[gnu::always_inline]] inline void exp_below_88(Floats<N>* x) {
  const float round = 12582912.f;  // 1.5 * 2^23: adding it leaves no fraction
  Floats<N> shifted[J], n[J], p[J];
  for (int j = 0; j < J; ++j) x[j] = x[j] < -87.f ? all<N>(-87.f) : x[j];
  for (int j = 0; j < J; ++j) shifted[j] = x[j] * 1.44269504f + round;
  for (int j = 0; j < J; ++j) n[j] = shifted[j] - round;
  for (int j = 0; j < J; ++j) x[j] = x[j] - n[j] * 0.693359375f;
  for (int j = 0; j < J; ++j) x[j] = x[j] + n[j] * 2.12194440e-4f;
  for (int j = 0; j < J; ++j) p[j] = all<N>(1.9875691500e-4f);
  polynomial<N, J>(p, x, {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f});
  for (int j = 0; j < J; ++j) p[j] = p[j] * x[j] * x[j] + x[j] + 1.f;
  for (int j = 0; j < J; ++j) {
    typename Types<N>::Ints bits;
    std::memcpy(&bits, &shifted[j], sizeof bits);
    bits = (bits << 23) + 0x3f800000;  // the integer is in the low bits; the shift drops the others
    Floats<N> power;
    std::memcpy(&power, &bits, sizeof power);
    x[j] = p[j] * power;
  }
}

// Sigmoid in place.
template <int N, int J>
[[gnu::always_inline]] inline void sigmoid(Floats<N>* x) {
  for (int j = 0; j < J; ++j) x[j] = x[j] < -88.f ? all<N>(88.f) : -x[j];
  exp_below_88<N, J>(x);
  for (int j = 0; j < J; ++j) x[j] = 1.f / (1.f + x[j]);
}

// GELU in place. The normal CDF is 0.5 + x P(x^2) / Q(x^2), fitted to 4e-8 where floats can tell it from 0 and 1. In
// float32 it is right to 2e-7.
template <int N, int J>
[[gnu::always_inline]] inline void gelu(Floats<N>* x) {
  constexpr float most = 5.2f;
  Floats<N> c[J], square[J], p[J], q[J];
  for (int j = 0; j < J; ++j) c[j] = x[j] < -most ? all<N>(-most) : x[j];
  for (int j = 0; j < J; ++j) c[j] = c[j] > most ? all<N>(most) : c[j];
  for (int j = 0; j < J; ++j) square[j] = c[j] * c[j];
  for (int j = 0; j < J; ++j) p[j] = all<N>(1.37316666e-10f), q[j] = all<N>(4.56251211e-5f);
  polynomial<N, J>(p, square, {-2.35132579e-8f, 2.77987356e-6f, 1.16949784e-4f, 4.15899913e-3f, 3.05150153e-2f,
                               3.98942100e-1f});
  for (int j = 0; j < J; ++j) p[j] *= c[j];
  polynomial<N, J>(q, square, {1.51432953e-3f, 2.59531035e-2f, 2.43154842e-1f, 1.f});
  for (int j = 0; j < J; ++j) p[j] = p[j] / q[j] + 0.5f;
  for (int j = 0; j < J; ++j) x[j] *= p[j] < 0.f ? all<N>(0.f) : p[j];
}

// GELU in place, and its slope, by formula 7.1.26 of Abramowitz and Stegun: error below 1.5e-7.
template <int N, int J>
[[gnu::always_inline]] inline void gelu_with_slope(Floats<N>* x, Floats<N>* slope) {
  Floats<N> z[J], density[J], t[J];
  for (int j = 0; j < J; ++j) z[j] = abs<N>(x[j]) * 0.707106781f;
  for (int j = 0; j < J; ++j) density[j] = -z[j] * z[j];
  for (int j = 0; j < J; ++j) t[j] = 1.f / (1.f + z[j] * 0.3275911f);
  exp_below_88<N, J>(density);
  for (int j = 0; j < J; ++j) z[j] = all<N>(1.061405429f);
  polynomial<N, J>(z, t, {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f});
  for (int j = 0; j < J; ++j) z[j] = z[j] * t[j] * density[j] * 0.5f;
  for (int j = 0; j < J; ++j) z[j] = x[j] < 0.f ? z[j] : 1.f - z[j];
  for (int j = 0; j < J; ++j) slope[j] = z[j] + x[j] * density[j] * 0.398942280f;
  for (int j = 0; j < J; ++j) x[j] *= z[j];
}

// Floats of a cache line. A vector across two lines takes two loads.
constexpr int LINE = 16;

// Prefetches memory that is soon read or written; invalid addresses do no harm.
template <int floats, bool written = false>
inline void prefetch(const float* p) {
  for (int i = 0; i < floats; i += LINE) __builtin_prefetch(p + i, written);
}

// Memory of a thread that is reused from call to call, aligned to a cache line.
inline float* scratch(size_t floats) {
  struct alignas(LINE * sizeof(float)) Line {
    float values[LINE];
  };
  static thread_local std::vector<Line> memory;
  const size_t lines = (floats + LINE - 1) / LINE;
  if (memory.size() < lines) memory.resize(lines);
  return memory.data()->values;
}

}  // namespace moganet
