// SPDX-License-Identifier: Apache-2.0
#pragma once

// Differentiable operations. Each checks the shapes it is given (an Error names the operation and
// both shapes), launches its kernel and leaves a node on the tape. Activations are channels last,
// [N, H, W, C] or [N, D, H, W, C]; `type` of the result is that of x. Parameters are float32
// whatever the type of x.

#include <cstdint>

#include "engine/tape.hpp"
#include "kernels/resample/resample.hpp"

namespace anaphase::engine {

using kernels::Activation;
using kernels::ResampleMode;

// ---- layers (conv.cpp, linear.cpp, norm.cpp, attention.cpp) ----

struct ConvOptions {
  int stride = 1;
  int padding = 0;                           // the same on every spatial axis
  Tensor residual = {};                      // added to the result; empty: none
  Activation activation = Activation::none;  // applied last
  float slope = 0.01F;
};
/// x [N, (D,) H, W, C], weight [O, (KD,) KH, KW, C], bias [O] or empty -> [N, (D',) H', W', O].
Tensor conv(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias,
            const ConvOptions& options = {});

/// x [..., in], weight [out, in], bias [out] or empty, residual like the result or empty -> [...,
/// out].
Tensor linear(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Tensor& residual = {});

/// x [N, ..., C], gamma and beta [C], scale_shift [N, 2 C] (all scales, then all shifts) or empty;
/// then `activation` (none or silu). C has to be a multiple of `groups`.
Tensor group_norm(Tape& tape, const Tensor& x, const Tensor& gamma, const Tensor& beta, int groups,
                  const Tensor& scale_shift = {}, Activation activation = Activation::none,
                  float epsilon = 1e-5F);

struct BatchNormOptions {
  bool training = true;  // use and record the statistics of this batch
  float momentum = 0.1F;
  float epsilon = 1e-5F;
  Activation activation = Activation::none;  // none, relu or leaky_relu
  float slope = 0.01F;
};
/// x [..., C]; running_mean and running_variance [C] are updated in place when training.
Tensor batch_norm(Tape& tape, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                  const Tensor& running_mean, const Tensor& running_variance,
                  const BatchNormOptions& options);

struct Layer {
  Tensor weight, bias;
};
/// The convolution or linear layer that does what that of weight [O, ...] and bias [O] (or empty)
/// does with the batch norm of the running statistics [O] after it. Made once where parameters are
/// fixed. No gradient.
Layer fold_batch_norm(Tape& tape, const Tensor& weight, const Tensor& bias, const Tensor& gamma,
                      const Tensor& beta, const Tensor& running_mean,
                      const Tensor& running_variance, float epsilon = 1e-5F);

/// qkv [N, ..., 3 C] (queries, keys, values; each by heads) -> [N, ..., C]: self-attention over the
/// axes between the first and the last.
Tensor attention(Tape& tape, const Tensor& qkv, int heads);

// ---- resolution and channels (resample.cpp, concat.cpp) ----

/// 2 x 2 maxima, stride 2; an odd last row or column is dropped. x [N, H, W, C].
Tensor max_pool(Tape& tape, const Tensor& x);
/// x [N, (D,) H, W, C] with its spatial axes resampled to `extents`; with a skip connection of
/// those extents, concat(skip, that) in one pass.
Tensor resample(Tape& tape, const Tensor& x, const Shape& extents, ResampleMode mode,
                const Tensor& skip = {});
/// Channels of a, then channels of b.
Tensor concat(Tape& tape, const Tensor& a, const Tensor& b);

// ---- element by element (elementwise.cpp) ----

Tensor activate(Tape& tape, const Tensor& x, Activation activation, float slope = 0.01F);
/// Keeps an element with probability 1 - rate, scaled by its inverse; keys [N] and draw as in
/// kernels/common/philox.hpp.
Tensor dropout(Tape& tape, const Tensor& x, float rate, const Tensor& keys, std::uint32_t draw);
/// alpha a + beta b, times `factor` (one value that a replayed program can be given anew) if not
/// empty; b may be empty.
Tensor add_scaled(Tape& tape, const Tensor& a, const Tensor& b, double alpha = 1, double beta = 1,
                  const Tensor& factor = {});
/// x [N, ..., C] + v [N, C] at every position.
Tensor add_per_sample(Tape& tape, const Tensor& x, const Tensor& v);
Tensor cast(Tape& tape, const Tensor& x, DType type);

// ---- classes (softmax.cpp): logits [..., K] ----

/// gain * softmax + offset; (1, 0): probabilities, (2, -1): the mask signal of a diffusion network.
Tensor softmax(Tape& tape, const Tensor& logits, float gain = 1, float offset = 0);
struct ArgmaxOptions {
  float confidence = 0;        // below this probability the label is kernels::ignore_label
  bool probabilities = false;  // x are probabilities, not logits
};
/// int32 [...], the class of the largest value. No gradient.
Tensor argmax(Tape& tape, const Tensor& x, const ArgmaxOptions& options = {});
/// labels [...] -> [..., K] of `type`: on at the label, off elsewhere. No gradient.
Tensor one_hot(Tape& tape, const Tensor& labels, int classes, DType type, float on = 1,
               float off = 0);

// ---- losses (loss.cpp): one value of the device's float type ----

Tensor dice_loss(Tape& tape, const Tensor& logits, const Tensor& labels, float smooth = 1);
Tensor cross_entropy_loss(Tape& tape, const Tensor& logits, const Tensor& labels);
/// Mean over samples of weight [N] (empty: 1) times the sample's mean squared difference. The
/// target gets no gradient.
Tensor mean_squared_error(Tape& tape, const Tensor& prediction, const Tensor& target,
                          const Tensor& weight = {});

/// How a batch uses its classes.
struct ClassUse {
  Tensor loss;     // KL(mean class use || prior), differentiable
  Tensor use;      // [K], mean probability of each class
  Tensor entropy;  // mean entropy of a pixel's probabilities, in nats
};
ClassUse class_use(Tape& tape, const Tensor& logits, const Tensor& prior);

// ---- diffusion and random numbers (diffusion.cpp): keys [N] uint64, t [N] int32 ----

Tensor random_timesteps(Tape& tape, const Tensor& keys, std::uint32_t draw, std::int32_t low,
                        std::int32_t high);
Tensor random_normal(Tape& tape, const Tensor& keys, std::uint32_t draw, const Shape& shape,
                     DType type);

struct Noised {
  Tensor x_t;    // differentiable in x
  Tensor noise;  // what was drawn
};
/// q(x, t, noise) with alpha_bar [T] of the device's float type.
Noised forward_noise(Tape& tape, const Tensor& x, const Tensor& t, const Tensor& alpha_bar,
                     const Tensor& keys, std::uint32_t draw);
/// The clean signal that `noise` says is in x_t, clamped. No gradient.
Tensor predict_clean(Tape& tape, const Tensor& x_t, const Tensor& noise, const Tensor& t,
                     const Tensor& alpha_bar, float low, float high);
/// A reverse process of several steps (kernels/diffusion/diffusion.hpp): tables made beforehand,
/// and where it stands. All int32 but the coefficients, which are of the device's float type.
struct ReverseProcess {
  Tensor coefficients;  // [steps, kernels::ReverseStepCoefficients::count]
  Tensor timesteps;     // [steps]
  Tensor step;          // [1]; -1 before the first step
  Tensor t;             // [N]: the timestep of the step
};
/// Goes on to the next step: changes process.step and process.t.
void next_step(Tape& tape, const ReverseProcess& process);
/// The step that the process stands at; x0_before may be empty. No gradient.
struct Reversed {
  Tensor x_prev, x0;
};
Reversed reverse_step(Tape& tape, const Tensor& x_t, const Tensor& prediction,
                      const Tensor& x0_before, const ReverseProcess& process, const Tensor& keys,
                      std::uint32_t draw, float low, float high);
/// Sinusoidal embedding [N, channels].
Tensor timestep_embedding(Tape& tape, const Tensor& t, int channels, DType type);

}  // namespace anaphase::engine
