// SPDX-License-Identifier: Apache-2.0
#pragma once

// Sums over all rows, as the losses share them, in two stages: every block sums its rows in float
// into its column of `partial` [sums, blocks]; one block adds the columns in double. The number of
// blocks, and with it the order of all sums, depends on the sizes alone.

#include "kernels/softmax/softmax_rows.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// Threads of a block that sums over rows of C classes.
template <int C>
inline constexpr int sum_threads = C == 0 ? 64 : row_threads;

/// Rows of any number of classes that a block has in hand at a time, each with sums of its own.
inline constexpr int row_groups = sum_threads<0> / lanes_of_row<0>;

/// Its grid: four packs or more for each thread, so that the sum over the block costs little.
template <class T, int C>
Grid sum_grid(std::int64_t rows, int sums) {
  constexpr std::int64_t packs_of_thread = 4, most_blocks = 1024;
  const std::size_t shared_bytes = C == 0 ? sums * row_groups * sizeof(float) : 0;
  return {row_blocks<T, C>(ceil_div(rows, packs_of_thread), sum_threads<C>, most_blocks),
          sum_threads<C>, shared_bytes};
}

template <class Operation>
std::size_t partial_bytes(const Operation& op, int sums) {
  std::size_t bytes = 0;
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    bytes = sums * sum_grid<T, C>(op.rows, sums).blocks.x * sizeof(float);
  });
  return bytes;
}

/// What a block sums: for each class `PerClass` values, and `Others` more. A thread's sums are its
/// own until `finish`; where 8 lanes share a row, those of a class are in shared memory.
template <int C, int PerClass, int Others>
class RowSums {
 public:
  __device__ explicit RowSums(int) {}

  __device__ void add(int i, int k, float value) { sum_[i * C + k] += value; }
  __device__ void add_other(int i, float value) { sum_[PerClass * C + i] += value; }

  /// Adds up the block's sums; [PerClass, classes] and then [Others] are rows of partial.
  __device__ void finish(float* partial) {
    constexpr int warps = sum_threads<C> / 32;
    __shared__ SharedArray<float, sums * warps> of_warp;
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int i = 0; i < sums; ++i) {
      const float sum = warp_sum(sum_[i]);
      if (thread % 32 == 0) of_warp[i * warps + thread / 32] = sum;
    }
    __syncthreads();
    if (thread >= sums) return;
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += of_warp[thread * warps + w];
    partial[thread * gridDim.x + blockIdx.x] = sum;
  }

 private:
  static constexpr int sums = PerClass * C + Others;
  float sum_[sums] = {};
};

template <int PerClass, int Others>
class RowSums<0, PerClass, Others> {
 public:
  __device__ explicit RowSums(int classes)
      : classes_(classes),
        sums_(PerClass * classes + Others),
        sum_(all() + static_cast<int>(threadIdx.x) / lanes_of_row<0> * sums_) {
    for_each_class<0>(classes, [&](int k) {
      for (int i = 0; i < PerClass; ++i) sum_[i * classes + k] = 0;
    });
    if (leads())
      for (int i = 0; i < Others; ++i) sum_[PerClass * classes + i] = 0;
  }

  __device__ void add(int i, int k, float value) { sum_[i * classes_ + k] += value; }
  __device__ void add_other(int i, float value) {
    if (leads()) sum_[PerClass * classes_ + i] += value;
  }

  __device__ void finish(float* partial) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < sums_; i += sum_threads<0>) {
      float sum = 0;
      for (int group = 0; group < row_groups; ++group) sum += all()[group * sums_ + i];
      partial[i * gridDim.x + blockIdx.x] = sum;
    }
  }

 private:
  __device__ static float* all() { return reinterpret_cast<float*>(dynamic_shared()); }
  __device__ static bool leads() { return threadIdx.x % lanes_of_row<0> == 0; }

  int classes_, sums_;
  float* sum_;  // [sums] of the group
};

/// One block adds up what the others left.
inline constexpr int finish_threads = 256;

/// The sum of a row of `partial`, in every lane of the calling warp.
__device__ inline double total(const float* partial, int count) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x) % 32; i < count; i += 32)
    sum += static_cast<double>(partial[i]);
  return warp_sum(sum);
}

/// The sum of f(i), i from 0 to count - 1, each computed by a whole warp of the one block of
/// `finish_threads`, in every thread.
template <class F>
__device__ double sum_over_warps(int count, F&& f) {
  constexpr int warps = finish_threads / 32;
  __shared__ SharedArray<double, warps> of_warp;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  double sum = 0;
  for (int i = warp; i < count; i += warps) sum += f(i);
  if (threadIdx.x % 32 == 0) of_warp[warp] = sum;
  __syncthreads();
  sum = 0;
  for (int w = 0; w < warps; ++w) sum += of_warp[w];
  return sum;
}

__device__ inline bool first_lane() {
  return threadIdx.x % 32 == 0;
}

/// 0 for null.
__device__ inline float value_at(const float* pointer) {
  return pointer == nullptr ? 0.0F : *pointer;
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
