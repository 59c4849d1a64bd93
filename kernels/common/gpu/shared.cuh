// SPDX-License-Identifier: Apache-2.0
#pragma once

// Shared memory of a block. Arrays are declared as
//   __shared__ SharedArray<float, 32 * 33> tile;
// so that the executor knows them: it counts their bytes and fills them with NaN for every block.

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels::inline ANAPHASE_GPU_BUILD {

template <class T, int N>
struct alignas(16) SharedArray {
  T elements[N];
#if !defined(__CUDACC__)
  std::uint64_t serial;  // of the block that it was announced to
#endif

  __device__ T* data() {
#if !defined(__CUDACC__)
    if (serial != simt::block_serial) {
      serial = simt::block_serial;
      simt::add_static_shared(elements, sizeof elements);
    }
#endif
    return elements;
  }
  __device__ T& operator[](int i) {
    return data()[i];
  }
};

/// The block's dynamic shared memory, aligned to 128 bytes.
__device__ inline unsigned char* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(128) unsigned char bytes[];
  return bytes;
#else
  return static_cast<unsigned char*>(simt::dynamic_shared_memory());
#endif
}

}  // namespace anaphase::kernels::inline ANAPHASE_GPU_BUILD
