// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the rungs of the reverse step share: its arithmetic on one element, and its memory accesses
// for N neighbouring elements.

#include "kernels/diffusion/ladder.hpp"
#include "kernels/random/philox.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// A NaN stays a NaN.
__device__ inline float clamp(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

/// The coefficients of the step at hand.
struct StepBack {
  float x0_from_x, x0_from_prediction, from_x0, from_x0_before, from_x, sigma, low, high;
  std::uint32_t draw;

  __device__ explicit StepBack(const ReverseStep& op) : low(op.low), high(op.high) {
    using C = ReverseStepCoefficients;
    const std::int32_t step = *op.step;
    const auto* row = static_cast<const float*>(op.coefficients) + step * C::count;
    x0_from_x = row[C::x0_from_x];
    x0_from_prediction = row[C::x0_from_prediction];
    from_x0 = row[C::from_x0];
    from_x0_before = op.x0_before ? row[C::from_x0_before] : 0;
    from_x = row[C::from_x];
    sigma = row[C::sigma];
    draw = op.draw + static_cast<std::uint32_t>(step);
  }

  __device__ float clean(float x_t, float prediction) const {
    return clamp(x0_from_x * x_t + x0_from_prediction * prediction, low, high);
  }
  __device__ float previous(float x0, float before, float x_t, float z) const {
    return from_x0 * x0 + from_x0_before * before + from_x * x_t + sigma * z;
  }
};

/// One step back for the N elements from `begin` of a sample on; noise(key) gives their normal
/// numbers. The loads come first, so that they are under way while the noise is computed.
template <class T, int N, bool Whole, class Noise>
__device__ void step_back(const ReverseStep& op, const StepBack& step, int sample,
                          std::int64_t begin, Noise&& noise) {
  const std::int64_t at = sample * op.per_sample + begin, left = op.per_sample - begin;
  const auto x_t = load_piece<N, Whole>(static_cast<const T*>(op.x_t) + at, left);
  const auto prediction = load_piece<N, Whole>(static_cast<const T*>(op.prediction) + at, left);
  Vector<float, N> before{}, z{}, x0, x_prev;
  if (step.from_x0_before != 0)
    before = load_piece<N, Whole>(static_cast<const T*>(op.x0_before) + at, left);
  if (step.sigma != 0) z = noise(op.keys[sample]);
#pragma unroll
  for (int k = 0; k < N; ++k) {
    x0[k] = step.clean(x_t[k], prediction[k]);
    x_prev[k] = step.previous(x0[k], before[k], x_t[k], z[k]);
  }
  store_piece<Whole>(static_cast<T*>(op.x_prev) + at, x_prev, left);
  if (op.x0) store_piece<Whole>(static_cast<T*>(op.x0) + at, x0, left);
}

/// Normal number i of a draw, by one thread for one element: all four of its block are computed.
__device__ inline float normal_of_element(std::uint64_t key, std::uint32_t draw, std::int64_t i) {
  const Vector<float, 4> z = normals<4>(key, draw, i - i % 4);
  const int lane = static_cast<int>(i % 4);
  return lane < 2 ? (lane == 0 ? z[0] : z[1]) : (lane == 2 ? z[2] : z[3]);
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
