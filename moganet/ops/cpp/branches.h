// Halves of a block, image group by image group: forward passes, of training and of folded blocks, and backward passes.

#pragma once

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kernels.h"
#include "vectors.h"

namespace moganet {

// Memory for maps and sums that lasts as long as a call. Each piece begins with a line of the cache.
class Room {
 public:
  explicit Room(size_t floats, int pieces) {
    const size_t line = LINE * sizeof(float), bytes = floats * sizeof(float) + pieces * line;
    if (posix_memalign(&memory, line, bytes)) memory = nullptr;
    next = static_cast<float*>(memory);
  }
  ~Room() { std::free(memory); }
  Room(const Room&) = delete;
  explicit operator bool() const { return memory; }
  float* take(size_t floats) {
    float* const piece = next;
    next += (floats + LINE - 1) / LINE * LINE;
    return piece;
  }

 private:
  void* memory = nullptr;
  float* next;
};

// Calls body(some images, number of the first) for all images of a block.
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

// The sum of `count` rows, into `to` or added to it.
inline void sum_rows(const float* rows, size_t count, size_t width, float* to, bool add) {
  for (size_t r = 0; r < count; ++r, rows += width)
    for (size_t i = 0; i < width; ++i) to[i] = rows[i] + (r || add ? to[i] : 0.f);
}

// x w + bias, w (outputs, inputs) with rows that lie `stride` apart.
inline void multiply(const Maps& p, int inputs, int outputs, const float* x, const float* w, int stride,
                     const float* bias, float* out) {
  const Matmul problem = {pixels(p), inputs, outputs, stride, 1, p.threads};
  moganet_matmul(&problem, x, w, bias, out);
}

// So many zeros: what is a bias where there is none, since a product without one is added to what is there.
inline const float* zeros(size_t count) {
  static thread_local std::vector<float> memory;
  if (memory.size() < count) memory.resize(count);
  return memory.data();
}

// x w, w (inputs, outputs), into `out` or added to it.
inline void multiply_back(const Maps& p, int inputs, int outputs, const float* x, const float* w, int stride, bool add,
                          float* out) {
  const Matmul problem = {pixels(p), inputs, outputs, stride, 0, p.threads};
  moganet_matmul(&problem, x, w, add ? nullptr : zeros(outputs), out);
}

// The convolutions of a spatial half, given as three weights and biases in turn.
inline MultiOrder multi_order(const Block& b, const Maps& maps, const float* const* w) {
  MultiOrder found = {maps, {}};
  const int firsts[3] = {0, b.low, b.low + b.middle};
  for (int i = 0; i < 3; ++i) found.convs[i] = {w[2 * i], w[2 * i + 1], b.sides[i], b.dilations[i], firsts[i]};
  return found;
}

}  // namespace moganet
