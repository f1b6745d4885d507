// Structures and declarations of all kernels. Maps are (batch, height, width, channels), float32 and contiguous.
// `moganet/ops/cpp/bindings.py` repeats the structures of the kernels that it calls.

#pragma once

#include <cstddef>

struct Maps {
  int batch, height, width, channels, threads;
  size_t image() const { return size_t(height) * width * channels; }
};

struct Convolution {
  const float *weight, *bias;  // (channels, 1, side, side), (channels)
  int side, dilation, first;   // first: the first of its channels in the map
};

// Three convolutions: over all channels, over the middle group and over the high group.
struct MultiOrder {
  Maps maps;
  Convolution convs[3];
};

// Maps for kernels that treat each pixel alone.
struct Pixels {
  int batch, pixels, channels, threads;
};

// Two matrices, (pixels, left) and (pixels, right). The rows of the result lie `stride` apart; `add` accumulates.
struct TransposedMatmul {
  int pixels, left, right, stride, add, threads;
};

// x (pixels, inputs) times w (inputs, outputs), or with `transposed` (outputs, inputs). Rows of w lie `stride` apart.
struct Matmul {
  int pixels, inputs, outputs, stride, transposed, threads;
};

// A block: `images` and `slice`, the images and hidden channels that are computed at once; sizes of the low and middle
// channel groups; `double_gate`, both activations of the gate twice; sides and dilations of the three convolutions.
struct Block {
  Maps maps;
  int images, hidden, slice, low, middle, double_gate, sides[3], dilations[3];
};

// Taps of the depthwise convolution of a channel branch. Sums per channel from its backward pass: the gradients of the
// taps, of the two biases and of the weight of the context.
constexpr int TAPS = 9, SUMS = TAPS + 3;

// Destinations of the gradients per image: weights (batch, channels, side * side), biases (batch, channels).
struct Gradients {
  float *weight[3], *bias[3];
};

extern "C" {
void moganet_multi_order(const MultiOrder* p, const float* x, float* out);
void moganet_multi_order_backward(const MultiOrder* p, const float* x, const float* grad, float* out,
                                  const Gradients* all);
void moganet_ffn(const Maps* p, const float* h, const float* weight, const float* bias, const float* w_context,
                 const float* b_context, float* out, float* context);
void moganet_ffn_backward(const Maps* p, const float* h, const float* weight, const float* bias, const float* w_context,
                          const float* grad, const float* d_context, float* out, float* d_h, float* sums);
int moganet_chunks(const Pixels* p);
void moganet_sum(const Pixels* p, const float* x, float* sums);
void moganet_silu(const Pixels* p, float* q, const float* bias, float* u);
void moganet_silu_backward(const Pixels* p, const float* a, const float* b, const float* q, float* d, float* sums);
void moganet_gate(const Pixels* p, const float* g, const float* v, int double_gate, float* out);
void moganet_gate_backward(const Pixels* p, const float* d, const float* g, const float* v, int double_gate, float* out,
                           float* d_g, float* d_v, float* sums);
void moganet_add_spatial(const Pixels* p, const float* t, const float* x, const float* n, const float* scale,
                         const float* mask, float* out);
void moganet_shortcut_backward(const Pixels* p, const float* grad, const float* n, const float* mask, float* d,
                               float* sums);
void moganet_add_scaled(const Pixels* p, const float* t, const float* d, const float* scale, float* out);
void moganet_add_channel(const Pixels* p, const float* t, const float* x, const float* context, const float* subtracted,
                         const float* mask, float* out);
void moganet_context_backward(const Pixels* p, const float* grad, const float* context, const float* subtracted,
                              const float* mask, float* d, float* d_context, float* sums);
void moganet_transposed_matmul(const TransposedMatmul* p, const float* a, const float* b, float* out);
void moganet_matmul(const Matmul* p, const float* x, const float* w, const float* bias, float* out);
int moganet_spatial(const Block* b, const float* const* weights, const float* x, const float* n, const float* mask,
                    float* saved, float* out);
int moganet_channel(const Block* b, const float* const* weights, const float* x, const float* n, const float* mask,
                    float* saved, float* out);
int moganet_spatial_backward(const Block* b, const float* const* weights, const float* grad, const float* n,
                             const float* mask, const float* saved, float* grad_n, float* const* grads);
int moganet_channel_backward(const Block* b, const float* const* weights, const float* grad, const float* n,
                             const float* mask, const float* saved, float* grad_n, float* const* grads);
}
