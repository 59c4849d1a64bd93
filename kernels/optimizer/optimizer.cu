// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/optimizer.hpp"

#include "kernels/common/gpu/vector.cuh"

// One launch updates the parameters of a whole network: they lie in one block of memory.
//
// Bytes a parameter: AdamW reads gradient, parameter and both moments and writes all but the
// gradient, 28; Sgd 20; the average 12: the least possible. Operations: about 60 for AdamW, with a
// square root and a division of full accuracy, 2 a byte, so memory bounds them all. Each thread
// moves 16 bytes of every array at a time: at the 52 registers of AdamW 1024 threads share a
// multiprocessor, with 64 KB of loads in flight. Rates and scales are read from device memory by
// every thread: all read the same few words, which stay in the cache.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256;

__device__ float one_unless_given(const void* scale) {
  return scale ? *static_cast<const float*>(scale) : 1;
}

__global__ void __launch_bounds__(threads) adamw(AdamW op) {
  const float scale = one_unless_given(op.gradient_scale);
  if (scale == 0) return;
  const auto* hyper = static_cast<const float*>(op.hyper);
  const float rate = hyper[Hyper::learning_rate];
  const float unbias1 = 1 / hyper[Hyper::bias_correction1];
  const float unbias2 = 1 / hyper[Hyper::bias_correction2];
  const auto* gradient = static_cast<const float*>(op.gradient);
  auto* parameter = static_cast<float*>(op.parameter);
  auto* first = static_cast<float*>(op.first);
  auto* second = static_cast<float*>(op.second);
  for_each_vector<4>(op.count, [&]<int N>(std::integral_constant<int, N>, std::int64_t i) {
    const Vector<float, N> g = load<N>(gradient + i);
    Vector<float, N> p = load<N>(parameter + i), m = load<N>(first + i), v = load<N>(second + i);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float scaled = scale * g[k];
      m[k] = op.beta1 * m[k] + (1 - op.beta1) * scaled;
      v[k] = op.beta2 * v[k] + (1 - op.beta2) * scaled * scaled;
      const float step = m[k] * unbias1 / (sqrtf(v[k] * unbias2) + op.epsilon);
      p[k] -= rate * (step + op.weight_decay * p[k]);
    }
    store(parameter + i, p);
    store(first + i, m);
    store(second + i, v);
  });
}

__global__ void __launch_bounds__(threads) sgd(Sgd op) {
  const float scale = one_unless_given(op.gradient_scale);
  if (scale == 0) return;
  const float rate = static_cast<const float*>(op.hyper)[Hyper::learning_rate];
  const auto* gradient = static_cast<const float*>(op.gradient);
  auto* parameter = static_cast<float*>(op.parameter);
  auto* velocity = static_cast<float*>(op.velocity);
  for_each_vector<4>(op.count, [&]<int N>(std::integral_constant<int, N>, std::int64_t i) {
    const Vector<float, N> g = load<N>(gradient + i);
    Vector<float, N> p = load<N>(parameter + i), v = load<N>(velocity + i);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      v[k] = op.momentum * v[k] + scale * g[k] + op.weight_decay * p[k];
      p[k] -= rate * v[k];
    }
    store(parameter + i, p);
    store(velocity + i, v);
  });
}

__global__ void __launch_bounds__(threads) exponential_average(ExponentialAverage op) {
  const float decay = *static_cast<const float*>(op.decay);
  const auto* source = static_cast<const float*>(op.source);
  auto* average = static_cast<float*>(op.average);
  for_each_vector<4>(op.count, [&]<int N>(std::integral_constant<int, N>, std::int64_t i) {
    const Vector<float, N> x = load<N>(source + i);
    Vector<float, N> mean = load<N>(average + i);
#pragma unroll
    for (int k = 0; k < N; ++k) mean[k] = decay * mean[k] + (1 - decay) * x[k];
    store(average + i, mean);
  });
}

template <auto Kernel, class Operation>
void update(Gpu gpu, const Operation& op) {
  launch<Kernel>(gpu, {blocks_for(ceil_div<std::int64_t>(op.count, 4), threads), threads}, op);
}

}  // namespace

void run(Gpu gpu, const AdamW& op) {
  update<adamw>(gpu, op);
}

void run(Gpu gpu, const Sgd& op) {
  update<sgd>(gpu, op);
}

void run(Gpu gpu, const ExponentialAverage& op) {
  update<exponential_average>(gpu, op);
}

}  // namespace anaphase::kernels
