// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/gradient_norm_cub.hpp"

#include <thrust/iterator/tabulate_output_iterator.h>

#include <cub/device/device_reduce.cuh>

#include "kernels/optimizer/gradient_norm.cuh"

// The gradient's norm by CUB, squared and added in double, for comparison with
// kernels/optimizer/gradient_norm.cu. Written without a GPU at hand: compiled, not yet run.

namespace anaphase::kernels {
namespace {

struct Square {
  __device__ double operator()(float x) const { return static_cast<double>(x) * x; }
};

struct WriteNorm {
  float limit;
  float* norm;
  float* scale;
  __device__ void operator()(std::ptrdiff_t, double squares) const {
    write_norm(squares, limit, norm, scale);
  }
};

/// With `workspace` null, only asks how many bytes CUB wants.
void reduce(Cuda gpu, const GradientNorm& op, void* workspace, std::size_t& bytes) {
  const auto result = thrust::make_tabulate_output_iterator(
      WriteNorm{op.limit, static_cast<float*>(op.norm), static_cast<float*>(op.scale)});
  check(cub::DeviceReduce::TransformReduce(workspace, bytes, static_cast<const float*>(op.gradient),
                                           result, op.count, cuda::std::plus<>{}, Square{}, 0.0,
                                           static_cast<cudaStream_t>(gpu.stream)),
        "a norm by CUB");
}

}  // namespace

std::size_t gradient_norm_cub_workspace_bytes(Cuda gpu, const GradientNorm& op) {
  std::size_t bytes = 0;
  reduce(gpu, op, nullptr, bytes);
  return bytes;
}

void gradient_norm_cub(Cuda gpu, const GradientNorm& op) {
  std::size_t bytes = gradient_norm_cub_workspace_bytes(gpu, op);
  reduce(gpu, op, op.workspace, bytes);
}

}  // namespace anaphase::kernels
