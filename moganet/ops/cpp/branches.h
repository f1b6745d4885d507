// Shared by the forward and the backward passes of the branches of a block, which run over a few images at a time.

#pragma once

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kernels.h"
#include "vectors.h"

namespace moganet {

// Memory for the maps and sums of one call. Each piece is aligned to a cache line.
class Workspace {
 public:
  explicit Workspace(size_t floats, int pieces) {
    const size_t line = LINE * sizeof(float), bytes = floats * sizeof(float) + pieces * line;
    if (posix_memalign(&memory, line, bytes)) memory = nullptr;
    next = static_cast<float*>(memory);
  }
  ~Workspace() { std::free(memory); }
  Workspace(const Workspace&) = delete;
  explicit operator bool() const { return memory; }
  float* allocate(size_t floats) {
    float* const piece = next;
    next += (floats + LINE - 1) / LINE * LINE;
    return piece;
  }

 private:
  void* memory = nullptr;
  float* next;
};

// Calls body(maps of some images, index of the first one) until all images are done.
template <class Body>
inline void for_images(const Maps& maps, int at_once, Body body) {
  for (int i = 0; i < maps.batch; i += at_once) {
    Maps some = maps;
    some.batch = std::min(at_once, maps.batch - i);
    body(some, i);
  }
}

inline int area(const Maps& p) { return p.height * p.width; }
inline int pixels(const Maps& p) { return p.batch * area(p); }
inline Pixels pixels_of(const Maps& p) { return {p.batch, area(p), p.channels, p.threads}; }

// Writes the sum of `count` rows into `to`; `add` accumulates.
inline void sum_rows(const float* rows, size_t count, size_t width, float* to, bool add) {
  for (size_t r = 0; r < count; ++r, rows += width)
    for (size_t i = 0; i < width; ++i) to[i] = rows[i] + (r || add ? to[i] : 0.f);
}

// out = x w^T + bias, w (outputs, inputs) with rows `stride` apart.
inline void multiply(const Maps& p, int inputs, int outputs, const float* x, const float* w, int stride,
                     const float* bias, float* out) {
  const Matmul problem = {pixels(p), inputs, outputs, stride, 1, p.threads};
  moganet_matmul(&problem, x, w, bias, out);
}

// `count` zeros, passed as the bias of a matmul without one: a null bias means that the matmul accumulates.
inline const float* zeros(size_t count) {
  static thread_local std::vector<float> memory;
  if (memory.size() < count) memory.resize(count);
  return memory.data();
}

// out = x w, w (inputs, outputs) with rows `stride` apart; `add` accumulates.
inline void multiply_back(const Maps& p, int inputs, int outputs, const float* x, const float* w, int stride, bool add,
                          float* out) {
  const Matmul problem = {pixels(p), inputs, outputs, stride, 0, p.threads};
  moganet_matmul(&problem, x, w, add ? nullptr : zeros(outputs), out);
}

// The convolutions of a spatial branch, from the list of their weights and biases.
inline MultiOrder multi_order(const Block& b, const Maps& maps, const float* const* w) {
  MultiOrder problem = {maps, {}};
  const int firsts[3] = {0, b.low, b.low + b.middle};
  for (int i = 0; i < 3; ++i) problem.convs[i] = {w[2 * i], w[2 * i + 1], b.sides[i], b.dilations[i], firsts[i]};
  return problem;
}

}  // namespace moganet
