// What the kernels are told and what they are called. Maps are (batch, height, width, channels), all of float32 and
// without gaps; `moganet/ops/cpp/bindings.py` has the same structures of what it calls.

#pragma once

#include <cstddef>

struct Maps {
  int batch, height, width, channels, threads;
  size_t image() const { return size_t(height) * width * channels; }
};

struct Convolution {
  const float *weight, *bias;  // (channels, 1, side, side), (channels)
  int side, dilation, first;   // the first of its channels in the map
};

// Three convolutions: of all channels, of the middle group and of the high one.
struct MultiOrder {
  Maps maps;
  Convolution convs[3];
};

// Maps whose neighbourhoods do not matter: pixels of an image.
struct Pixels {
  int batch, pixels, channels, threads;
};

// Two matrices, (pixels, left) and (pixels, right), whose product has rows `stride` apart, and may be added to.
struct TransposedMatmul {
  int pixels, left, right, stride, add, threads;
};

// x (pixels, inputs) times w (inputs, outputs), or `turned`, (outputs, inputs), whose rows lie `stride` apart.
struct Matmul {
  int pixels, inputs, outputs, stride, turned, threads;
};

// A block, of which some images are worked on at once, and a slice of the hidden channels: groups of channels, whether
// the gate has both activations double_gate, and the three convolutions.
struct Block {
  Maps maps;
  int images, hidden, slice, low, middle, double_gate, sides[3], dilations[3];
};

// Taps of the depthwise convolution of a channel half, and the sums per channel that its backward pass gives: taps',
// both biases' gradients and that of what makes the context.
constexpr int TAPS = 9, SUMS = TAPS + 3;

// Where the gradients of weights and biases go, images first: (batch, channels, side * side) and (batch, channels).
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
int moganet_parts(const Pixels* p);
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
