// SPDX-License-Identifier: Apache-2.0
#pragma once

// How the .cu files reach their device. Each is compiled twice: by nvcc for CUDA, and by the host
// compiler for the executor of kernels/simt. `Gpu` is the device tag of the compilation at hand, so
// `run(Gpu, op)` defines run(Cuda, op) in the one and run(Simt, op) in the other. What these
// headers define lies in an inline namespace of its own for each, so that both can be linked
// together.

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "kernels/common/launch.hpp"

#if defined(__CUDACC__)
#define ANAPHASE_GPU_BUILD cuda_build
#else
#define ANAPHASE_GPU_BUILD simt_build
#endif

// The place of a call, which the executor names when the call is wrong: a last parameter.
#if defined(__CUDACC__)
#define ANAPHASE_WHERE
#else
#define ANAPHASE_WHERE , simt::Location where = simt::Location::current()
#endif

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

#if defined(__CUDACC__)
using Gpu = Cuda;
#else
using Gpu = Simt;
#endif

/// Throws Error for a call that failed; `what` it was meant to do.
inline void check(cudaError_t error, [[maybe_unused]] const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // it is reported here, not by the next call
#if defined(__CUDACC__)
  throw Error(std::string(what) + " failed on the CUDA device: " + cudaGetErrorString(error));
#else
  throw Error(cudaGetErrorString(error));
#endif
}

template <class T>
ANAPHASE_HOST_DEVICE constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

/// Compute capability times ten: 80 for 8.0.
inline int architecture(Gpu gpu) {
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu.index), "a query");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, gpu.index), "a query");
  return 10 * major + minor;
}

struct Grid {
  dim3 blocks, threads;
  std::size_t shared_bytes = 0;  // dynamic
};

template <class... Parameters>
struct ParameterList {
  using Tuple = std::tuple<Parameters...>;
};
template <class... P>
ParameterList<P...> parameters_of(void (*)(P...));

#if !defined(__CUDACC__)
template <auto Kernel>
std::string_view name_of_kernel() {
  return simt::kernel_name(__PRETTY_FUNCTION__);
}
/// The kernel's name, known to the executor from the program's start.
template <auto Kernel>
inline const std::string_view known_kernel = simt::add_kernel(name_of_kernel<Kernel>());
#endif

/// Enqueues a kernel: launch<kernel<float>>(gpu, {blocks, threads}, arguments...). Throws Error.
template <auto Kernel, class... Arguments>
void launch(Gpu gpu, const Grid& grid, Arguments&&... arguments) {
  constexpr std::size_t usual_shared_bytes = 48 << 10;
#if defined(__CUDACC__)
  if (grid.shared_bytes > usual_shared_bytes)
    check(cudaFuncSetAttribute(Kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(grid.shared_bytes)),
          "asking for shared memory");
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = static_cast<cudaStream_t>(gpu.stream);
  check(cudaLaunchKernelEx(&config, Kernel, std::forward<Arguments>(arguments)...), "a launch");
#else
  using Values = typename decltype(parameters_of(Kernel))::Tuple;
  check(
      simt::runtime::enqueue(
          static_cast<cudaStream_t>(gpu.stream),
          {.kernel = known_kernel<Kernel>,
           .grid = grid.blocks,
           .block = grid.threads,
           .dynamic_shared_bytes = grid.shared_bytes,
           .allowed_shared_bytes = grid.shared_bytes > usual_shared_bytes
                                       ? simt::limits().shared_bytes
                                       : usual_shared_bytes,
           .is_checked = simt::is_checked,
           .body =
               [](const void* values) { std::apply(Kernel, *static_cast<const Values*>(values)); },
           .parameters = std::make_shared<Values>(std::forward<Arguments>(arguments)...),
           .parameter_bytes = sizeof(Values)}),
      "a launch");
#endif
}

/// Calls f(T{}) with the C++ type of a GPU's activations, float or bf16.
template <class F>
void with_gpu_type(DType type, F&& f) {
  switch (type) {
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    default:
      throw Error("a GPU computes in f32 and bf16: use one of these types");
  }
}

/// Blocks of `threads` for `count` independent items, few enough that each thread takes several of
/// a large count (see `for_each_index`).
inline dim3 blocks_for(std::int64_t count, int threads, std::int64_t most = 4096) {
  const std::int64_t blocks = ceil_div<std::int64_t>(count, threads);
  return dim3(static_cast<unsigned>(blocks < 1 ? 1 : blocks > most ? most : blocks));
}

/// `blocks` along x for each of n samples, which lie along y (see `for_each_sample`).
inline dim3 sample_blocks(dim3 blocks, int n) {
  blocks.y = static_cast<unsigned>(std::min(n, 1024));
  return blocks;
}

/// body(i) for i in [0, count), spread over all threads of a one-dimensional grid: neighbouring
/// threads take neighbouring i.
template <class Body>
__device__ void for_each_index(std::int64_t count, Body&& body) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step)
    body(i);
}

/// body(sample) for the samples in [0, n) that the block's position along y stands for.
template <class Body>
__device__ void for_each_sample(int n, Body&& body) {
  for (int sample = static_cast<int>(blockIdx.y); sample < n; sample += static_cast<int>(gridDim.y))
    body(sample);
}

/// body(row, column) for the cells of a matrix [rows, columns], likewise; it divides only once.
template <class Body>
__device__ void for_each_cell(std::int64_t rows, int columns, Body&& body) {
  const auto first = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const auto step = static_cast<int>(gridDim.x * blockDim.x);
  const int row_step = step / columns, column_step = step % columns;
  int column = first % columns;
  for (std::int64_t row = first / columns; row < rows; row += row_step) {
    body(row, column);
    column += column_step;
    if (column >= columns) {
      column -= columns;
      ++row;
    }
  }
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
