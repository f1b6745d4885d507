// Multi-order depthwise convolutions of a spatial branch, forward and backward. They run over a few channels of an
// image at a time, so that the map between the two convolutions of a group stays in the cache.

#include <algorithm>

#include "kernels.h"
#include "vectors.h"

namespace moganet {
namespace {

constexpr int MAX_TAPS = 7 * 7;

// The taps of a k x k kernel that lie inside a map of this size at some position; the others are left out.
struct Taps {
  int side, dilation, height, width, rows, columns;
  Taps(int side, int dilation, int height, int width)
      : side(side), dilation(dilation), height(height), width(width),
        rows(std::min(side / 2, (height - 1) / dilation)), columns(std::min(side / 2, (width - 1) / dilation)) {}
  int margin() const { return columns * dilation; }
  int centre() const { return side / 2 * side + side / 2; }
};

// A map of N channels, padded with zeros on the left and right.
template <int N>
struct Padded {
  float* data;  // the first pixel of the map
  int row;
  static size_t floats(int height, int width, int margin) { return size_t(N) * height * (width + 2 * margin); }
  Padded(float* memory, int height, int width, int margin) : data(memory + margin * N), row((width + 2 * margin) * N) {
    for (int y = 0; y < height; ++y) {
      std::fill_n(data + y * row - margin * N, margin * N, 0.f);
      std::fill_n(data + y * row + width * N, margin * N, 0.f);
    }
  }
  void read(const float* x, int height, int width, int channels) {
    for (int y = 0; y < height; ++y)
      for (int i = 0; i < width; ++i) store<N>(data + y * row + i * N, load<N>(x + size_t(y * width + i) * channels));
  }
};

// Convolves J neighbouring pixels of row y. `taps` has N floats for each tap.
template <int N, int J>
inline void convolve_some(const float* in, int row, int y, const float* taps, Floats<N> bias, const Taps& t, float* out,
                          int step) {
  Floats<N> total[J];
  for (int j = 0; j < J; ++j) total[j] = bias;
  const int spread = t.dilation * N;
  for (int ky = -t.rows; ky <= t.rows; ++ky) {
    if (unsigned(y + ky * t.dilation) >= unsigned(t.height)) continue;
    const float* from = in + ky * t.dilation * row;
    const float* tap = taps + (t.centre() + ky * t.side) * N;
    for (int kx = -t.columns; kx <= t.columns; ++kx) {
      Floats<N> w = load<N>(tap + kx * N);
      for (int j = 0; j < J; ++j) total[j] += w * load<N>(from + kx * spread + j * N);
    }
  }
  for (int j = 0; j < J; ++j) store<N>(out + size_t(j) * step, total[j]);
}

// Convolves a map. The pixels at once fill the registers, and their numbers are chosen so that few are left over.
template <int N>
void convolve(const Padded<N>& in, const float* taps, const float* bias, const Taps& t, float* out, int out_row,
              int step) {
  constexpr int MOST = REGISTERS > 16 ? 14 : 7;
  Floats<N> b = {};
  if (bias) b = load<N>(bias);
  for (int y = 0; y < t.height; ++y) {
    const float* from = in.data + y * in.row;
    float* to = out + size_t(y) * out_row;
    for (int x = 0; x < t.width;) {
      const int left = t.width - x;
      auto run = [&](auto count) {
        constexpr int J = decltype(count)::value;
        convolve_some<N, J>(from + x * N, in.row, y, taps, b, t, to + size_t(x) * step, step);
        x += J;
      };
      if (left == MOST || left >= MOST + 8) run(std::integral_constant<int, MOST>());
      else if (REGISTERS > 16 && left >= 8) run(std::integral_constant<int, 8>());
      else if (left >= 7) run(std::integral_constant<int, 7>());
      else if (left >= 4) run(std::integral_constant<int, 4>());
      else if (left >= 2) run(std::integral_constant<int, 2>());
      else run(std::integral_constant<int, 1>());
    }
  }
}

// Gradient of K taps of one row of a kernel: sums of `grad` times the map shifted by each tap.
template <int N, int K>
void kernel_row_gradient(const Padded<N>& x, const Padded<N>& grad, int ky, const Taps& t, Floats<N>* total) {
  Floats<N> even[K] = {}, odd[K] = {};
  const int first = std::max(0, -ky * t.dilation), last = std::min(t.height, t.height - ky * t.dilation);
  const int spread = t.dilation * N;
  for (int y = first; y < last; ++y) {
    const float* g = grad.data + y * grad.row;
    const float* from = x.data + (y + ky * t.dilation) * x.row - K / 2 * spread;
    int i = 0;
    for (; i + 1 < t.width; i += 2, g += 2 * N, from += 2 * N) {
      Floats<N> a = load<N>(g), b = load<N>(g + N);
      for (int k = 0; k < K; ++k) {
        even[k] += a * load<N>(from + k * spread);
        odd[k] += b * load<N>(from + k * spread + N);
      }
    }
    if (i < t.width)
      for (int k = 0; k < K; ++k) even[k] += load<N>(g) * load<N>(from + k * spread);
  }
  for (int k = 0; k < K; ++k) total[k] = even[k] + odd[k];
}

// Gradient of a kernel, into `out` (channels, side * side).
template <int N>
void kernel_gradient(const Padded<N>& x, const Padded<N>& grad, const Taps& t, float* out) {
  const int area = t.side * t.side;
  std::fill_n(out, N * area, 0.f);
  for (int ky = -t.rows; ky <= t.rows; ++ky) {
    Floats<N> total[7];
    switch (t.columns) {
      case 0: kernel_row_gradient<N, 1>(x, grad, ky, t, total); break;
      case 1: kernel_row_gradient<N, 3>(x, grad, ky, t, total); break;
      case 2: kernel_row_gradient<N, 5>(x, grad, ky, t, total); break;
      default: kernel_row_gradient<N, 7>(x, grad, ky, t, total);
    }
    for (int kx = -t.columns; kx <= t.columns; ++kx)
      for (int n = 0; n < N; ++n) out[n * area + t.centre() + ky * t.side + kx] = total[kx + t.columns][n];
  }
}

template <int N>
void sum_map(const Padded<N>& x, const Taps& t, float* out) {
  Floats<N> total = {};
  for (int y = 0; y < t.height; ++y)
    for (int i = 0; i < t.width; ++i) total += load<N>(x.data + y * x.row + i * N);
  store<N>(out, total);
}

// Copies the weights of N channels to (taps, N). `rotated` rotates the kernel by 180 degrees, for the gradient of the
// input.
template <int N>
void arrange(const float* weight, int area, bool rotated, float* out) {
  for (int k = 0; k < area; ++k)
    for (int n = 0; n < N; ++n) out[k * N + n] = weight[n * area + (rotated ? area - 1 - k : k)];
}

// Some channels of one group in an image.
struct Chunk {
  const Convolution *base, *group;  // of all channels; of the group, or null for the low group
  int channel, height, width, channels;
  Taps taps(const Convolution& c) const { return Taps(c.side, c.dilation, height, width); }
};

template <int N>
const float* arranged(const Convolution& c, int channel, bool rotated, float* memory) {
  const int area = c.side * c.side;
  arrange<N>(c.weight + (channel - c.first) * area, area, rotated, memory);
  return memory;
}

template <int N>
void forward_chunk(const Chunk& chunk, const float* x, float* out) {
  const Taps base = chunk.taps(*chunk.base), group = chunk.taps(chunk.group ? *chunk.group : *chunk.base);
  const int height = chunk.height, width = chunk.width, channels = chunk.channels, c = chunk.channel;
  const size_t size = Padded<N>::floats(height, width, base.margin());
  float* memory = scratch(size + Padded<N>::floats(height, width, group.margin()) + MAX_TAPS * N);
  float* taps = memory + size + Padded<N>::floats(height, width, group.margin());
  Padded<N> in(memory, height, width, base.margin());
  in.read(x + c, height, width, channels);
  const float* bias = chunk.base->bias + c;
  arranged<N>(*chunk.base, c, false, taps);
  if (!chunk.group) return convolve<N>(in, taps, bias, base, out + c, width * channels, channels);
  Padded<N> between(memory + size, height, width, group.margin());
  convolve<N>(in, taps, bias, base, between.data, between.row, N);
  arranged<N>(*chunk.group, c, false, taps);
  convolve<N>(between, taps, chunk.group->bias + c - chunk.group->first, group, out + c, width * channels, channels);
}

template <int N>
void backward_chunk(const Chunk& chunk, int number, const float* x, const float* grad, float* out,
                    const Gradients& to) {
  const Taps base = chunk.taps(*chunk.base), group = chunk.taps(chunk.group ? *chunk.group : *chunk.base);
  const int height = chunk.height, width = chunk.width, channels = chunk.channels, c = chunk.channel;
  const size_t size = Padded<N>::floats(height, width, base.margin());
  const size_t group_size = Padded<N>::floats(height, width, group.margin());
  float* memory = scratch(2 * size + 2 * group_size + MAX_TAPS * N);
  float* taps = memory + 2 * size + 2 * group_size;
  Padded<N> in(memory, height, width, base.margin()), inner(memory + size, height, width, base.margin());
  in.read(x + c, height, width, channels);
  if (chunk.group) {
    const Convolution& conv = *chunk.group;
    const int own = c - conv.first;
    Padded<N> between(memory + 2 * size, height, width, group.margin());
    Padded<N> outer(memory + 2 * size + group_size, height, width, group.margin());
    outer.read(grad + c, height, width, channels);
    convolve<N>(in, arranged<N>(*chunk.base, c, false, taps), chunk.base->bias + c, base, between.data, between.row, N);
    kernel_gradient<N>(between, outer, group, to.weight[number] + own * conv.side * conv.side);
    sum_map<N>(outer, group, to.bias[number] + own);
    convolve<N>(outer, arranged<N>(conv, c, true, taps), nullptr, group, inner.data, inner.row, N);
  } else {
    inner.read(grad + c, height, width, channels);
  }
  kernel_gradient<N>(in, inner, base, to.weight[0] + c * base.side * base.side);
  sum_map<N>(inner, base, to.bias[0] + c);
  convolve<N>(inner, arranged<N>(*chunk.base, c, true, taps), nullptr, base, out + c, width * channels, channels);
}

// Calls body(vector width, image, chunk, index of the group) for all channels of all images.
template <class Body>
void for_chunks(const MultiOrder& p, Body body) {
  const Maps& maps = p.maps;
  const int ends[4] = {0, p.convs[1].first, p.convs[2].first, maps.channels};
  struct Piece { int channel, width, group; };
  std::vector<Piece> pieces;
  for (int g = 2; g >= 0; --g)
    for_channels(ends[g], ends[g + 1], [&](auto width, int c) { pieces.push_back({c, decltype(width)::value, g}); });
  const int count = pieces.size();
#pragma omp parallel for num_threads(maps.threads) schedule(dynamic)
  for (int i = 0; i < maps.batch * count; ++i) {
    const Piece& piece = pieces[i % count];
    const Chunk chunk = {&p.convs[0], piece.group ? &p.convs[piece.group] : nullptr, piece.channel, maps.height,
                         maps.width, maps.channels};
    auto call = [&](auto width) { body(width, i / count, chunk, piece.group); };
    if (piece.width == 16) call(std::integral_constant<int, 16>());
    else if (piece.width == 8) call(std::integral_constant<int, 8>());
    else if (piece.width == 4) call(std::integral_constant<int, 4>());
    else call(std::integral_constant<int, 1>());
  }
}

}  // namespace

extern "C" void moganet_multi_order(const MultiOrder* p, const float* x, float* out) {
  const size_t image = p->maps.image();
  for_chunks(*p, [&](auto width, int i, const Chunk& chunk, int) {
    forward_chunk<decltype(width)::value>(chunk, x + i * image, out + i * image);
  });
}

// `all` are the gradients of weights and biases per image: (batch, channels of the convolution, side * side).
extern "C" void moganet_multi_order_backward(const MultiOrder* p, const float* x, const float* grad, float* out,
                                             const Gradients* all) {
  const size_t image = p->maps.image();
  const int ends[4] = {0, p->convs[1].first, p->convs[2].first, p->maps.channels};
  for_chunks(*p, [&](auto width, int i, const Chunk& chunk, int group) {
    Gradients own;
    for (int g = 0; g < 3; ++g) {
      const size_t channels = g ? ends[g + 1] - ends[g] : p->maps.channels;
      own.weight[g] = all->weight[g] + i * channels * p->convs[g].side * p->convs[g].side;
      own.bias[g] = all->bias[g] + i * channels;
    }
    backward_chunk<decltype(width)::value>(chunk, group, x + i * image, grad + i * image, out + i * image, own);
  });
}

}  // namespace moganet
