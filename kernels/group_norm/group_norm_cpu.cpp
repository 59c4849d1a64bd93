// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/group_norm.hpp"

#include <cmath>

#include "kernels/activation/activation_math.hpp"
#include "kernels/common/normalize.hpp"
#include "kernels/common/parallel.hpp"

// Two passes over the tensor with a small step between them: sums over chunks of pixels; from these
// the coefficients of every channel; and the result, pixel by pixel. Samples are taken in batches
// that the cache holds, so that the second pass does not go to memory again.

namespace anaphase::kernels {
namespace {

/// How the work is cut up: a function of the sizes alone.
struct Plan {
  int channels, groups, members;  // members: channels of a group
  std::int64_t per_sample;        // elements
  RowChunks chunks;               // of one sample
  int batch;                      // samples at a time

  Plan(const GroupNormShape& shape, DType type)
      : channels(shape.channels),
        groups(shape.groups),
        members(shape.channels / shape.groups),
        per_sample(shape.pixels * shape.channels),
        chunks(shape.pixels, shape.channels) {
    constexpr std::int64_t cached = std::int64_t{2} << 20;
    const auto bytes = static_cast<std::int64_t>(per_sample * size_of(type));
    batch = static_cast<int>(
        std::clamp<std::int64_t>(cached / std::max<std::int64_t>(1, bytes), 1, shape.n));
  }
};

template <class F>
void with_silu(Activation activation, F&& f) {
  if (activation == Activation::silu) return f(Silu{});
  f(Identity{});
}

/// 1 + scale and shift of one channel of sample s.
template <class T>
struct ScaleShift {
  float scale = 1, shift = 0;
  ScaleShift(const void* scale_shift, int channels, int s, int c) {
    if (!scale_shift) return;
    const T* of_sample = static_cast<const T*>(scale_shift) + std::int64_t{2} * s * channels;
    scale += of_sample[c];
    shift = of_sample[channels + c];
  }
};

/// The coefficients of a batch, [samples, channels] each.
struct Coefficients {
  float *mean, *factor, *term;
  Affine of(std::int64_t offset) const { return {mean + offset, factor + offset, term + offset}; }
};

}  // namespace

std::size_t workspace_bytes(Cpu, const GroupNormForward& op) {
  const Plan plan(op.shape, op.type);
  const std::size_t values = static_cast<std::size_t>(plan.batch) * plan.channels;
  return values * (plan.chunks.count * 2 * sizeof(double) + 3 * sizeof(float));
}

void run(Cpu, const GroupNormForward& op) {
  const Plan plan(op.shape, op.type);
  const int channels = plan.channels;
  const std::int64_t values = std::int64_t{plan.batch} * channels;
  // [batch, chunks, (mean, square), channels]
  auto* moments = static_cast<double*>(op.workspace);
  auto* coefficients = reinterpret_cast<float*>(moments + values * plan.chunks.count * 2);
  const Coefficients affine{coefficients, coefficients + values, coefficients + 2 * values};
  const auto* gamma = static_cast<const float*>(op.gamma);
  const auto* beta = static_cast<const float*>(op.beta);

  const auto normalize = [&]<class T>(int first, int samples, auto activate, T) {
    const T* x = static_cast<const T*>(op.x) + first * plan.per_sample;
    T* y = static_cast<T*>(op.y) + first * plan.per_sample;
    const std::int64_t moments_of_sample = plan.chunks.count * 2 * channels;
    for_each_chunk(plan.chunks, samples, [&](int s, std::int64_t chunk) {
      double* mean = moments + s * moments_of_sample + chunk * 2 * channels;
      channel_moments(x + s * plan.per_sample, plan.chunks.begin(chunk), plan.chunks.end(chunk),
                      channels, mean, mean + channels);
    });
    parallel_for(samples * plan.groups, plan.chunks.count * plan.members, [&](std::int64_t i) {
      const int s = static_cast<int>(i / plan.groups), g = static_cast<int>(i % plan.groups);
      const int begin = g * plan.members, end = begin + plan.members;
      const auto [mean, variance] =
          combine_moments(moments + s * moments_of_sample, plan.chunks, begin, end);
      const double rstd = 1 / std::sqrt(variance + static_cast<double>(op.epsilon));
      const auto rounded_mean = static_cast<float>(mean);
      const std::int64_t group = (first + s) * plan.groups + g;
      static_cast<float*>(op.mean)[group] = rounded_mean;
      static_cast<float*>(op.rstd)[group] = static_cast<float>(rstd);
      for (int c = begin; c < end; ++c) {
        const ScaleShift<T> with(op.scale_shift, channels, first + s, c);
        const double factor = rstd * gamma[c] * with.scale;
        const double term = static_cast<double>(beta[c]) * with.scale + with.shift;
        affine.mean[s * channels + c] = rounded_mean;
        affine.factor[s * channels + c] = static_cast<float>(factor);
        affine.term[s * channels + c] = static_cast<float>(term + (rounded_mean - mean) * factor);
      }
    });
    for_each_chunk(plan.chunks, samples, [&](int s, std::int64_t chunk) {
      apply_affine(x + s * plan.per_sample, plan.chunks.begin(chunk), plan.chunks.end(chunk),
                   channels, affine.of(s * channels), activate, y + s * plan.per_sample);
    });
  };
  with_cpu_type(op.type, [&](auto type) {
    with_silu(op.activation, [&](auto activate) {
      for (int first = 0; first < op.shape.n; first += plan.batch)
        normalize(first, std::min(plan.batch, op.shape.n - first), activate, type);
    });
  });
}

std::size_t workspace_bytes(Cpu, const GroupNormBackward& op) {
  const Plan plan(op.shape, op.type);
  const std::size_t values = static_cast<std::size_t>(plan.batch) * plan.channels;
  return 2 * plan.channels * sizeof(double) + values * (plan.chunks.count * 2 + 6) * sizeof(float);
}

void run(Cpu, const GroupNormBackward& op) {
  const Plan plan(op.shape, op.type);
  const int channels = plan.channels;
  const std::int64_t values = std::int64_t{plan.batch} * channels;
  auto* dgamma = static_cast<double*>(op.workspace);  // sums over the samples
  double* dbeta = dgamma + channels;
  auto* sums = reinterpret_cast<float*>(dbeta + channels);  // [batch, chunks, 2, channels]
  float* coefficients = sums + values * plan.chunks.count * 2;
  const Coefficients affine{coefficients, coefficients + values, coefficients + 2 * values};
  float *of_du = coefficients + 3 * values, *of_x = of_du + values, *constant = of_x + values;
  const auto* gamma = static_cast<const float*>(op.gamma);
  const auto* beta = static_cast<const float*>(op.beta);
  const auto* mean = static_cast<const float*>(op.mean);
  const auto* rstd = static_cast<const float*>(op.rstd);
  std::fill_n(dgamma, 2 * channels, 0.0);

  const auto differentiate = [&]<class T>(int first, int samples, auto activate, T) {
    const T* x = static_cast<const T*>(op.x) + first * plan.per_sample;
    const T* dy = static_cast<const T*>(op.dy) + first * plan.per_sample;
    T* dx = static_cast<T*>(op.dx) + first * plan.per_sample;
    parallel_for(samples * channels, 1, [&](std::int64_t i) {
      const int s = first + static_cast<int>(i / channels), c = static_cast<int>(i % channels);
      const std::int64_t group = s * plan.groups + c / plan.members;
      const ScaleShift<T> with(op.scale_shift, channels, s, c);
      affine.mean[i] = mean[group];
      affine.factor[i] = rstd[group] * gamma[c] * with.scale;
      affine.term[i] = beta[c] * with.scale + with.shift;
    });
    for_each_chunk(plan.chunks, samples, [&](int s, std::int64_t chunk) {
      float* sum = sums + (s * plan.chunks.count + chunk) * 2 * channels;
      affine_sums(x + s * plan.per_sample, dy + s * plan.per_sample, plan.chunks.begin(chunk),
                  plan.chunks.end(chunk), channels, affine.of(s * channels), activate, sum,
                  sum + channels);
    });
    // A group's channels belong to one thread, which takes the samples in their order.
    parallel_for(plan.groups, samples * plan.chunks.count * plan.members, [&](std::int64_t g) {
      const auto count = static_cast<double>(plan.chunks.rows * plan.members);
      for (int s = 0; s < samples; ++s) {
        const double r = rstd[(first + s) * plan.groups + g];
        double mean_dn = 0, mean_dn_normal = 0;  // of the gradient of the normalised value
        for (std::int64_t c = g * plan.members; c < (g + 1) * plan.members; ++c) {
          const ScaleShift<T> with(op.scale_shift, channels, first + s, static_cast<int>(c));
          double du = 0, du_normal = 0;
          for (std::int64_t k = 0; k < plan.chunks.count; ++k) {
            const float* sum = sums + (s * plan.chunks.count + k) * 2 * channels;
            du += sum[c];
            du_normal += sum[channels + c];
          }
          du_normal *= r;
          dbeta[c] += du * with.scale;
          dgamma[c] += du_normal * with.scale;
          mean_dn += du * with.scale * gamma[c] / count;
          mean_dn_normal += du_normal * with.scale * gamma[c] / count;
          of_du[s * channels + c] = static_cast<float>(r * gamma[c] * with.scale);
          if (op.dscale_shift) {
            T* out = static_cast<T*>(op.dscale_shift) + std::int64_t{2} * (first + s) * channels;
            store(out[c], static_cast<float>(gamma[c] * du_normal + beta[c] * du));
            store(out[channels + c], static_cast<float>(du));
          }
        }
        for (std::int64_t c = g * plan.members; c < (g + 1) * plan.members; ++c) {
          of_x[s * channels + c] = static_cast<float>(-r * r * mean_dn_normal);
          constant[s * channels + c] = static_cast<float>(-r * mean_dn);
        }
      }
    });
    for_each_chunk(plan.chunks, samples, [&](int s, std::int64_t chunk) {
      const std::int64_t offset = std::int64_t{s} * channels;
      apply_affine_gradient(x + s * plan.per_sample, dy + s * plan.per_sample,
                            plan.chunks.begin(chunk), plan.chunks.end(chunk), channels,
                            affine.of(offset), {of_du + offset, of_x + offset, constant + offset},
                            activate, dx + s * plan.per_sample);
    });
  };
  with_cpu_type(op.type, [&](auto type) {
    with_silu(op.activation, [&](auto activate) {
      for (int first = 0; first < op.shape.n; first += plan.batch)
        differentiate(first, std::min(plan.batch, op.shape.n - first), activate, type);
    });
  });
  std::copy_n(dgamma, channels, static_cast<float*>(op.dgamma));
  std::copy_n(dbeta, channels, static_cast<float*>(op.dbeta));
}

}  // namespace anaphase::kernels
