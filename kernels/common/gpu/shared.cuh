// SPDX-License-Identifier: Apache-2.0
#pragma once

// Shared memory of a block. Arrays are declared as
//   __shared__ SharedArray<float, 32 * 33> tile;
// so that the executor knows them: it counts their bytes and fills them with NaN for every block.

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

template <class T, int N>
struct SharedArray {
#if defined(__CUDACC__)
  alignas(16) T elements[N];

  __device__ T* data() {
    return elements;
  }
#else
  simt::SharedArrayState state;

  T* data() {
    const bool is_known = !simt::is_checked && state.serial == simt::block_serial;
    return static_cast<T*>(is_known ? state.data
                                    : simt::static_shared_memory(state, N * sizeof(T)));
  }
#endif
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

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
