// SPDX-License-Identifier: Apache-2.0
#pragma once

// The activations as the CPU kernels' inner loops use them: f(x) and f.slope(x), its derivative, in
// float and without branches.

#include "kernels/common/types.hpp"
#include "kernels/common/vector_math.hpp"

namespace anaphase::kernels {

struct Identity {
  float operator()(float x) const { return x; }
  float slope(float) const { return 1; }
};

struct LeakyRelu {
  float leak;
  // `leak` is read whatever x is: read under a condition, it would keep loops from vectorising.
  float operator()(float x) const {
    const float leaked = leak * x;
    return x > 0 ? x : leaked;
  }
  float slope(float x) const {
    const float below = leak;
    return x > 0 ? 1.0F : below;
  }
};

/// NaN stays NaN.
struct Relu {
  float operator()(float x) const { return x < 0 ? 0 : x; }
  float slope(float x) const { return x > 0 ? 1.0F : 0.0F; }
};

struct Silu {
  float operator()(float x) const { return x * sigmoid(x); }
  float slope(float x) const {
    const float s = sigmoid(x);
    return s * (1 + x * (1 - s));
  }
};

struct Gelu {
  float operator()(float x) const { return x * normal(x).distribution; }
  float slope(float x) const {
    const Normal at = normal(x);
    return at.distribution + x * at.density;
  }
};

/// Calls f with the activation's functor.
template <class F>
void with_activation(Activation activation, float leak, F&& f) {
  switch (activation) {
    case Activation::none:
      return f(Identity{});
    case Activation::relu:
      return f(Relu{});
    case Activation::leaky_relu:
      return f(LeakyRelu{leak});
    case Activation::silu:
      return f(Silu{});
    case Activation::gelu:
      return f(Gelu{});
  }
}

}  // namespace anaphase::kernels
