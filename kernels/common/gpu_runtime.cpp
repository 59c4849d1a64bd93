// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu_runtime.hpp"

namespace anaphase::kernels {

const GpuRuntime* find_gpu_runtime(DeviceKind kind) {
  if constexpr (has_cuda)
    if (kind == DeviceKind::cuda) return &gpu_runtime(Cuda{});
  if constexpr (has_simt)
    if (kind == DeviceKind::simt) return &gpu_runtime(Simt{});
  return nullptr;
}

const GpuRuntime& gpu_runtime(DeviceKind kind) {
  if (const GpuRuntime* found = find_gpu_runtime(kind)) return *found;
  if (kind == DeviceKind::cuda)
    throw DeviceError(
        "this build has no CUDA kernels: build it where nvcc is (-DANAPHASE_CUDA=ON), or use "
        "--device cpu");
  throw DeviceError(
      "this build cannot run CUDA kernels on the processor: build it with -DANAPHASE_SIMT=ON, or "
      "use --device cpu");
}

void make_current(const Stream& stream) {
  if (is_gpu(stream.kind)) gpu_runtime(stream.kind).make_current(stream);
}

}  // namespace anaphase::kernels
