// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/reduce.hpp"

#include <cmath>

#include "kernels/common/gpu/vector.cuh"
#include "kernels/reduce/partial_sums.cuh"

// y = scale * sum of x, to nearly the accuracy of a sum in double.
//
// Bytes: x once, the least possible, and 8 for each block. A thread adds in float and keeps what
// every addition rounds off in a second float (Knuth's two-sum, The Art of Computer Programming,
// vol. 2, sec. 4.2.2): 7 operations an element at full rate. Double runs at 1/32 to 1/64 of that on
// compute capability 7.5, 8.6, 8.9 and 12.0, and with a conversion for each element would be slower
// than memory there. At most 4 operations a byte, below the 20 that a GPU affords (see
// kernels/activation/activation.cu). A thread takes k = count / (1024 * 256) elements of a large
// array, which leaves a relative error of (k 2^-24)^2 at worst; what the threads have found is
// added in double.

namespace anaphase::kernels {
namespace {

class CompensatedSum {
 public:
  __device__ void add(float x) {
    const float total = sum_ + x, added = total - sum_;
    lost_ += (sum_ - (total - added)) + (x - added);
    sum_ = total;
  }
  /// What is lost of an infinite sum is no number.
  __device__ double value() const {
    return std::isinf(sum_) ? static_cast<double>(sum_) : static_cast<double>(sum_) + lost_;
  }

 private:
  float sum_ = 0, lost_ = 0;
};

template <class T>
__global__ void __launch_bounds__(reduction_threads)
    sum_in_blocks(std::int64_t count, const T* x, double* partial) {
  CompensatedSum sum;
  for_each_vector<lanes_of<T>>(count, [&]<int N>(std::integral_constant<int, N>, std::int64_t i) {
    const Vector<float, N> v = load_float<N>(x + i);
#pragma unroll
    for (int k = 0; k < N; ++k) sum.add(v[k]);
  });
  write_partial_sum(sum.value(), partial);
}

__global__ void __launch_bounds__(reduction_threads)
    finish_sum(int count, const double* partial, double scale, float* y) {
  const double sum = sum_of_partials(count, partial);
  if (threadIdx.x == 0) *y = static_cast<float>(scale * sum);
}

int partial_sums_of(const Sum& op) {
  return partial_sums(op.count * static_cast<std::int64_t>(size_of(op.type)) / 16);
}

}  // namespace

std::size_t workspace_bytes(Gpu, const Sum& op) {
  return static_cast<std::size_t>(partial_sums_of(op)) * sizeof(double);
}

void run(Gpu gpu, const Sum& op) {
  const int blocks = partial_sums_of(op);
  auto* partial = static_cast<double*>(op.workspace);
  with_gpu_type(op.type, [&]<class T>(T) {
    launch<sum_in_blocks<T>>(gpu, {blocks, reduction_threads}, op.count,
                             static_cast<const T*>(op.x), partial);
  });
  launch<finish_sum>(gpu, {1, reduction_threads}, blocks, partial, op.scale,
                     static_cast<float*>(op.y));
}

}  // namespace anaphase::kernels
