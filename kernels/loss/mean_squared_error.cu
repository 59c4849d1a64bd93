// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/loss.cuh"
#include "kernels/loss/loss.hpp"

// The weighted mean squared error of samples and its gradient.
//
// Bytes: forward 2 s, backward 3 s an element of s bytes, which is the least possible. Operations:
// 3 an element, so memory binds: each thread moves 16 bytes of either tensor at a time, neighbours
// next to each other. A block stays within a sample, whose weight then counts once a block forward
// and is a factor of the whole block backward.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256;

/// Samples cut into the same number of parts, a block each; a function of the sizes alone.
struct Parts {
  std::int64_t vectors;  // of a sample
  int count;             // of a sample

  template <int Lanes>
  static Parts of(int n, std::int64_t per_sample) {
    constexpr std::int64_t vectors_of_thread = 4, most_blocks = 2048;
    const std::int64_t vectors = per_sample / Lanes,
                       most = std::max(most_blocks / n, std::int64_t{1});
    return {vectors,
            static_cast<int>(blocks_for(ceil_div(vectors, vectors_of_thread), threads, most).x)};
  }

  __device__ int sample() const { return static_cast<int>(blockIdx.x) / count; }
  /// body(i) for the thread's vectors i of all samples.
  template <class Body>
  __device__ void for_each(Body&& body) const {
    const std::int64_t begin = sample() * vectors;
    const auto part = static_cast<std::int64_t>(static_cast<int>(blockIdx.x) % count);
    for (std::int64_t i = part * threads + threadIdx.x; i < vectors;
         i += std::int64_t{count} * threads)
      body(begin + i);
  }
};

template <class T, int Lanes>
__global__ void __launch_bounds__(threads)
    squared_error_sums(Parts parts, const T* prediction, const T* target, float* partial) {
  __shared__ SharedArray<float, threads / 32> of_warp;
  float sum[1] = {0};
  parts.for_each([&](std::int64_t i) {
    const auto p = load_float<Lanes>(prediction + i * Lanes),
               t = load_float<Lanes>(target + i * Lanes);
#pragma unroll
    for (int k = 0; k < Lanes; ++k) sum[0] += (p[k] - t[k]) * (p[k] - t[k]);
  });
  block_sums<threads>(sum, of_warp);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum[0];
}

__global__ void __launch_bounds__(finish_threads)
    mean_squared_error(int n, int parts, double per_sample, const float* partial,
                       const float* weight, float* loss) {
  const double sum = sum_over_warps(n, [&](int s) {
    const double of_sample = total(partial + static_cast<std::int64_t>(s) * parts, parts);
    return weight == nullptr ? of_sample : static_cast<double>(weight[s]) * of_sample;
  });
  if (threadIdx.x == 0) *loss = static_cast<float>(sum / (n * per_sample));
}

template <class T, int Lanes>
__global__ void __launch_bounds__(threads)
    mean_squared_error_backward(Parts parts, float elements, const T* prediction, const T* target,
                                const float* weight, const float* dloss, T* dprediction) {
  const float of_sample = weight == nullptr ? 1.0F : weight[parts.sample()];
  const float factor = 2 * *dloss / elements * of_sample;
  parts.for_each([&](std::int64_t i) {
    const auto p = load_float<Lanes>(prediction + i * Lanes),
               t = load_float<Lanes>(target + i * Lanes);
    Vector<float, Lanes> d;
#pragma unroll
    for (int k = 0; k < Lanes; ++k) d[k] = factor * (p[k] - t[k]);
    store_float(dprediction + i * Lanes, d);
  });
}

/// f(T{}, std::integral_constant<int, Lanes>{}, parts) for the operation's type and sizes.
template <class Operation, class F>
void with_parts_of(const Operation& op, F&& f) {
  with_gpu_type(op.type, [&]<class T>(T type) {
    with_lanes<T>(op.per_sample, [&]<class Lanes>(Lanes lanes) {
      f(type, lanes, Parts::of<Lanes::value>(op.n, op.per_sample));
    });
  });
}

}  // namespace

std::size_t workspace_bytes(Gpu, const MeanSquaredErrorForward& op) {
  std::size_t bytes = 0;
  with_parts_of(op, [&](auto, auto, const Parts& parts) {
    bytes = static_cast<std::size_t>(op.n) * parts.count * sizeof(float);
  });
  return bytes;
}

void run(Gpu gpu, const MeanSquaredErrorForward& op) {
  auto* partial = static_cast<float*>(op.workspace);
  with_parts_of(op, [&]<class T, int Lanes>(T, std::integral_constant<int, Lanes>,
                                            const Parts& parts) {
    launch<squared_error_sums<T, Lanes>>(gpu, {static_cast<unsigned>(op.n * parts.count), threads},
                                         parts, static_cast<const T*>(op.prediction),
                                         static_cast<const T*>(op.target), partial);
    launch<mean_squared_error>(gpu, {1, finish_threads}, op.n, parts.count,
                               static_cast<double>(op.per_sample),
                               static_cast<const float*>(partial),
                               static_cast<const float*>(op.weight), static_cast<float*>(op.loss));
  });
}

void run(Gpu gpu, const MeanSquaredErrorBackward& op) {
  with_parts_of(op,
                [&]<class T, int Lanes>(T, std::integral_constant<int, Lanes>, const Parts& parts) {
                  launch<mean_squared_error_backward<T, Lanes>>(
                      gpu, {static_cast<unsigned>(op.n * parts.count), threads}, parts,
                      static_cast<float>(op.n) * static_cast<float>(op.per_sample),
                      static_cast<const T*>(op.prediction), static_cast<const T*>(op.target),
                      static_cast<const float*>(op.weight), static_cast<const float*>(op.dloss),
                      static_cast<T*>(op.dprediction));
                });
}

}  // namespace anaphase::kernels
