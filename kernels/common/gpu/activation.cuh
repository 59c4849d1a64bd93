// SPDX-License-Identifier: Apache-2.0
#pragma once

// The activations and their derivatives in float, for epilogues and pointwise kernels.

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// Within 3 ulp; 0 and 1 at the ends, NaN for NaN.
__device__ inline float sigmoid_of(float x) {
  return 1.0F / (1.0F + expf(-x));
}

__device__ inline float normal_distribution(float x) {
  return 0.5F * erfcf(-0.707106781F * x);
}

struct ActivationParameters {
  Activation kind = Activation::none;
  float slope = 0;  // of leaky_relu
};

__device__ inline float activate(const ActivationParameters& activation, float x) {
  switch (activation.kind) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0 ? 0.0F : x;
    case Activation::leaky_relu:
      return x > 0 ? x : activation.slope * x;
    case Activation::silu:
      return x * sigmoid_of(x);
    case Activation::gelu:
      return x * normal_distribution(x);
  }
  return x;
}

__device__ inline float activation_slope(const ActivationParameters& activation, float x) {
  switch (activation.kind) {
    case Activation::none:
      return 1;
    case Activation::relu:
      return x > 0 ? 1.0F : 0.0F;
    case Activation::leaky_relu:
      return x > 0 ? 1.0F : activation.slope;
    case Activation::silu: {
      const float s = sigmoid_of(x);
      return s * (1 + x * (1 - s));
    }
    case Activation::gelu:
      return normal_distribution(x) + x * (0.398942280F * expf(-0.5F * x * x));
  }
  return 1;
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
