// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/diffusion.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/common/vector_math.hpp"
#include "kernels/random/philox_cpu.hpp"

namespace anaphase::kernels {
namespace {

/// What a timestep makes of signal and noise: x_t = signal * x + noise * z.
struct Levels {
  float signal, noise;
  Levels(const void* alpha_bar, std::int32_t t) {
    const float level = static_cast<const float*>(alpha_bar)[t];
    signal = std::sqrt(level);
    noise = std::sqrt(1 - level);
  }
};

/// A NaN stays a NaN.
float clamp(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

}  // namespace

void run(Cpu, const ForwardNoise& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    parallel_pieces(op.n, op.per_sample, [&](std::int64_t sample, std::int64_t begin, int count) {
      const std::int64_t first = sample * op.per_sample + begin;
      const T* x = static_cast<const T*>(op.x) + first;
      T* x_t = static_cast<T*>(op.x_t) + first;
      const Levels level(op.alpha_bar, op.t[sample]);
      float z[random_piece];
      normals(op.keys[sample], op.draw, begin, count, z);
#pragma omp simd
      for (int i = 0; i < count; ++i) store(x_t[i], level.signal * x[i] + level.noise * z[i]);
      if (!op.noise) return;
      T* noise = static_cast<T*>(op.noise) + first;
#pragma omp simd
      for (int i = 0; i < count; ++i) store(noise[i], z[i]);
    });
  });
}

void run(Cpu, const ForwardNoiseBackward& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    parallel_pieces(op.n, op.per_sample, [&](std::int64_t sample, std::int64_t begin, int count) {
      const std::int64_t first = sample * op.per_sample + begin;
      const T* dx_t = static_cast<const T*>(op.dx_t) + first;
      T* dx = static_cast<T*>(op.dx) + first;
      const float signal = Levels(op.alpha_bar, op.t[sample]).signal;
#pragma omp simd
      for (int i = 0; i < count; ++i) store(dx[i], signal * dx_t[i]);
    });
  });
}

void run(Cpu, const PredictClean& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    parallel_pieces(op.n, op.per_sample, [&](std::int64_t sample, std::int64_t begin, int count) {
      const std::int64_t first = sample * op.per_sample + begin;
      const T* x_t = static_cast<const T*>(op.x_t) + first;
      const T* noise = static_cast<const T*>(op.noise) + first;
      T* x0 = static_cast<T*>(op.x0) + first;
      const Levels level(op.alpha_bar, op.t[sample]);
      const float low = op.low, high = op.high;
#pragma omp simd
      for (int i = 0; i < count; ++i)
        store(x0[i], clamp((x_t[i] - level.noise * noise[i]) / level.signal, low, high));
    });
  });
}

void run(Cpu, const ReverseStep& op) {
  using C = ReverseStepCoefficients;
  const auto* coefficient = static_cast<const float*>(op.coefficients) + *op.step * C::count;
  const float x0_from_x = coefficient[C::x0_from_x];
  const float x0_from_prediction = coefficient[C::x0_from_prediction];
  const float from_x0 = coefficient[C::from_x0], from_x = coefficient[C::from_x];
  const float from_before = op.x0_before ? coefficient[C::from_x0_before] : 0;
  const float sigma = coefficient[C::sigma];
  const std::uint32_t draw = op.draw + static_cast<std::uint32_t>(*op.step);
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    parallel_pieces(op.n, op.per_sample, [&](std::int64_t sample, std::int64_t begin, int count) {
      const std::int64_t first = sample * op.per_sample + begin;
      const T* x_t = static_cast<const T*>(op.x_t) + first;
      const T* prediction = static_cast<const T*>(op.prediction) + first;
      T* x_prev = static_cast<T*>(op.x_prev) + first;
      const float low = op.low, high = op.high;
      float clean[random_piece], earlier[random_piece] = {}, z[random_piece];
#pragma omp simd
      for (int i = 0; i < count; ++i)
        clean[i] = clamp(x0_from_x * x_t[i] + x0_from_prediction * prediction[i], low, high);
      if (from_before != 0)
        std::copy_n(static_cast<const T*>(op.x0_before) + first, count, earlier);
      if (op.x0) {
        T* x0 = static_cast<T*>(op.x0) + first;
#pragma omp simd
        for (int i = 0; i < count; ++i) store(x0[i], clean[i]);
      }
      if (sigma != 0)
        normals(op.keys[sample], draw, begin, count, z);
      else
        std::fill(z, z + count, 0.0F);
#pragma omp simd
      for (int i = 0; i < count; ++i)
        store(x_prev[i],
              from_x0 * clean[i] + from_before * earlier[i] + from_x * x_t[i] + sigma * z[i]);
    });
  });
}

void run(Cpu, const NextStep& op) {
  run(Reference{}, op);
}

void run(Cpu, const TimestepEmbedding& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const int half = op.channels / 2;
    parallel_for(op.n, std::int64_t{64} * op.channels, [&](std::int64_t s) {
      T* y = static_cast<T*>(op.y) + s * op.channels;
      store(y[op.channels - 1], 0.0F);
      for (int i = 0; i < half; ++i) {
        // in double: an angle of many turns would leave few correct digits in float
        const double angle = op.t[s] * std::exp(-std::log(10000.0) * i / half);
        store(y[i], static_cast<float>(std::sin(angle)));
        store(y[half + i], static_cast<float>(std::cos(angle)));
      }
    });
  });
}

}  // namespace anaphase::kernels
