// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/sum_cub.hpp"

#include <cuda_bf16.h>
#include <thrust/iterator/tabulate_output_iterator.h>

#include <cub/device/device_reduce.cuh>

#include "kernels/common/gpu/launch.cuh"

// Sum by CUB, in double, for comparison with kernels/reduce/sum.cu. Written without a GPU at hand:
// compiled, not yet run.

namespace anaphase::kernels {
namespace {

struct ToDouble {
  __device__ double operator()(float x) const { return x; }
  __device__ double operator()(__nv_bfloat16 x) const { return __bfloat162float(x); }
};

struct WriteScaled {
  double scale;
  float* y;
  __device__ void operator()(std::ptrdiff_t, double sum) const {
    *y = static_cast<float>(scale * sum);
  }
};

/// With `workspace` null, only asks how many bytes CUB wants.
void reduce(Cuda gpu, const Sum& op, void* workspace, std::size_t& bytes) {
  const auto from = [&](const auto* x) {
    const auto y =
        thrust::make_tabulate_output_iterator(WriteScaled{op.scale, static_cast<float*>(op.y)});
    check(
        cub::DeviceReduce::TransformReduce(workspace, bytes, x, y, op.count, cuda::std::plus<>{},
                                           ToDouble{}, 0.0, static_cast<cudaStream_t>(gpu.stream)),
        "a sum by CUB");
  };
  if (op.type == DType::f32)
    from(static_cast<const float*>(op.x));
  else
    from(static_cast<const __nv_bfloat16*>(op.x));
}

}  // namespace

std::size_t sum_cub_workspace_bytes(Cuda gpu, const Sum& op) {
  std::size_t bytes = 0;
  reduce(gpu, op, nullptr, bytes);
  return bytes;
}

void sum_cub(Cuda gpu, const Sum& op) {
  std::size_t bytes = sum_cub_workspace_bytes(gpu, op);
  reduce(gpu, op, op.workspace, bytes);
}

}  // namespace anaphase::kernels
