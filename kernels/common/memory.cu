// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/memory.hpp"

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
namespace {

cudaStream_t stream_of(Gpu gpu) {
  return static_cast<cudaStream_t>(gpu.stream);
}

}  // namespace

int device_count(Gpu) {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

void* allocate_memory(Gpu gpu, std::size_t bytes) {
  check(cudaSetDevice(gpu.index), "choosing the device");
  void* data = nullptr;
  const cudaError_t error = cudaMallocAsync(&data, bytes, stream_of(gpu));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(error, "an allocation");
  return data;
}

void free_memory(Gpu gpu, void* data) {
  cudaFreeAsync(data, stream_of(gpu));  // at worst the memory stays taken
}

void copy_to_device(Gpu gpu, void* to, const void* from, std::size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_of(gpu)), "a copy");
  synchronize(gpu);
}

void copy_to_host(Gpu gpu, void* to, const void* from, std::size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_of(gpu)), "a copy");
  synchronize(gpu);
}

void synchronize(Gpu gpu) {
  check(cudaStreamSynchronize(stream_of(gpu)), "a kernel");
}

}  // namespace anaphase::kernels
