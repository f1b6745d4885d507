// Vectors of N floats, and the functions of them that MogaNet's blocks need.
//
// GCC and Clang turn these types into the instructions of the processor that is compiled for, whatever its width.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace moganet {

// The widest vector that is worth using, and how many of its registers there are.
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
};
template <int N>
using Floats = typename Types<N>::Floats;

template <int N>
inline Floats<N> load(const float* p) {
  Floats<N> x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

template <int N>
inline void store(float* p, Floats<N> x) {
  std::memcpy(p, &x, sizeof x);
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

// Calls body(width, first channel) for all channels from `first` to `last`, in vectors as wide as fit.
template <int N = WIDEST, class Body>
inline void for_channels(int first, int last, Body body) {
  int c = first;
  for (; c + N <= last; c += N) body(std::integral_constant<int, N>(), c);
  if constexpr (N > 1)
    if (c < last) for_channels<(N > 4 ? N / 2 : 1)>(c, last, body);
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

// e^x of x below 88 to 2 units in the last place. What is smaller than a float can hold is the smallest.
template <int N>
inline Floats<N> exp_below_88(Floats<N> x) {
  const float round = 12582912.f;  // 1.5 * 2^23: adding it leaves no fraction
  x = x < -87.f ? all<N>(-87.f) : x;
  Floats<N> shifted = x * 1.44269504f + round, n = shifted - round;
  Floats<N> r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Floats<N> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  typename Types<N>::Ints bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000;  // the integer lies in the low bits; what is above them is shifted out
  Floats<N> power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

template <int N>
inline Floats<N> sigmoid(Floats<N> x) {
  return 1.f / (1.f + exp_below_88<N>(x < -88.f ? all<N>(88.f) : -x));
}

template <int N>
inline Floats<N> silu(Floats<N> x) {
  return x * sigmoid<N>(x);
}

// GELU with the error function by formula 7.1.26 of Abramowitz and Stegun, as PyTorch has it: below 1.5e-7.
template <int N>
struct Gelu {
  Floats<N> value, slope;
  explicit Gelu(Floats<N> x) {
    Floats<N> z = abs<N>(x) * 0.707106781f;
    Floats<N> density = exp_below_88<N>(-z * z), t = 1.f / (1.f + z * 0.3275911f);
    Floats<N> tail = t * 1.061405429f - 1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t - 0.284496736f;
    tail = (tail * t + 0.254829592f) * t * density * 0.5f;
    Floats<N> below = x < 0.f ? tail : 1.f - tail;
    value = x * below;
    slope = below + x * density * 0.398942280f;
  }
};

// Floats of a line of the cache. A vector that begins in the middle of one and ends in the next takes two loads.
constexpr int LINE = 16;

// Fetches what will soon be read, or written; addresses that nothing lies at do no harm.
template <int floats, bool written = false>
inline void prefetch(const float* p) {
  for (int i = 0; i < floats; i += LINE) __builtin_prefetch(p + i, written);
}

// Memory of a thread that lasts from call to call, and begins with a line of the cache.
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
