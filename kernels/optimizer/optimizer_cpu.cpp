// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/optimizer.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.hpp"

namespace anaphase::kernels {
namespace {

float one_unless_given(const void* scale) {
  return scale ? *static_cast<const float*>(scale) : 1;
}

/// A function of its own: inside a lambda GCC adds one element after the other.
double sum_of_squares(const float* x, std::int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

}  // namespace

void run(Cpu, const AdamW& op) {
  const auto* hyper = static_cast<const float*>(op.hyper);
  const float rate = hyper[Hyper::learning_rate];
  const float unbias1 = 1 / hyper[Hyper::bias_correction1];
  const float unbias2 = 1 / hyper[Hyper::bias_correction2];
  const float scale = one_unless_given(op.gradient_scale);
  if (scale == 0) return;
  const auto* gradient = static_cast<const float*>(op.gradient);
  auto* parameter = static_cast<float*>(op.parameter);
  auto* first = static_cast<float*>(op.first);
  auto* second = static_cast<float*>(op.second);
  const float beta1 = op.beta1, beta2 = op.beta2, epsilon = op.epsilon, decay = op.weight_decay;
  parallel_chunks(op.count, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = scale * gradient[i];
      const float m = beta1 * first[i] + (1 - beta1) * g;
      const float v = beta2 * second[i] + (1 - beta2) * g * g;
      const float step = m * unbias1 / (std::sqrt(v * unbias2) + epsilon);
      first[i] = m;
      second[i] = v;
      parameter[i] -= rate * (step + decay * parameter[i]);
    }
  });
}

void run(Cpu, const Sgd& op) {
  const float rate = static_cast<const float*>(op.hyper)[Hyper::learning_rate];
  const float scale = one_unless_given(op.gradient_scale);
  if (scale == 0) return;
  const auto* gradient = static_cast<const float*>(op.gradient);
  auto* parameter = static_cast<float*>(op.parameter);
  auto* velocity = static_cast<float*>(op.velocity);
  const float momentum = op.momentum, decay = op.weight_decay;
  parallel_chunks(op.count, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float v = momentum * velocity[i] + scale * gradient[i] + decay * parameter[i];
      velocity[i] = v;
      parameter[i] -= rate * v;
    }
  });
}

std::size_t workspace_bytes(Cpu, const GradientNorm& op) {
  return static_cast<std::size_t>(chunks_of(op.count)) * sizeof(double);
}

void run(Cpu, const GradientNorm& op) {
  const auto* gradient = static_cast<const float*>(op.gradient);
  auto* partial = static_cast<double*>(op.workspace);
  parallel_chunks(op.count, [=](std::int64_t begin, std::int64_t end) {
    partial[begin / chunk_size] = sum_of_squares(gradient + begin, end - begin);
  });
  double sum = 0;
  for (std::int64_t i = 0; i < chunks_of(op.count); ++i) sum += partial[i];
  const auto norm = static_cast<float>(std::sqrt(sum));
  float scale = 1;
  if (op.limit > 0 && norm > 0) scale = std::min(1.0F, op.limit / norm);
  if (!std::isfinite(norm)) scale = 0;
  *static_cast<float*>(op.norm) = norm;
  *static_cast<float*>(op.scale) = scale;
}

void run(Cpu, const ExponentialAverage& op) {
  const float decay = *static_cast<const float*>(op.decay);
  const auto* source = static_cast<const float*>(op.source);
  auto* average = static_cast<float*>(op.average);
  parallel_chunks(op.count, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i)
      average[i] = decay * average[i] + (1 - decay) * source[i];
  });
}

}  // namespace anaphase::kernels
