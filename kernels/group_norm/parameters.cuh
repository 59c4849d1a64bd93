// SPDX-License-Identifier: Apache-2.0
#pragma once

// The gradients of gamma, beta, scale and shift, from the sums over chunks of pixels that the
// backward pass leaves: sums [n * chunks, 2, channels] of du and of du * normalised value.
//   dbeta = sum du (1 + scale)    dgamma = sum du normal (1 + scale)      over samples and chunks
//   dshift = sum du               dscale = gamma sum du normal + beta dshift       over chunks
// A block takes 16 channels (64 bytes of a row, what memory hands out at once) of one of these, and
// its threads stand as 16 rows over them.

#include "kernels/common/gpu/reduce.cuh"
#include "kernels/group_norm/group_norm.hpp"

namespace anaphase::kernels::group_norm {
inline namespace ANAPHASE_GPU_BUILD {

inline constexpr int parameter_threads = 256, parameter_channels = 16;

/// Blocks that the gradients take: those of gamma and beta, then of each sample's scale and shift.
inline int parameter_blocks(const GroupNormBackward& op) {
  return ceil_div(op.shape.channels, parameter_channels) * (op.dscale_shift ? op.shape.n + 1 : 1);
}

template <class T>
__device__ void parameter_gradients(const GroupNormBackward& op, const float* sums, int chunks,
                                    int block) {
  constexpr int threads = parameter_threads, slices = threads / parameter_channels;
  __shared__ SharedArray<float, threads> partial_du;
  __shared__ SharedArray<float, threads> partial_du_normal;
  const int thread = static_cast<int>(threadIdx.x), channels = op.shape.channels;
  const int tiles = ceil_div(channels, parameter_channels);
  const int c = block % tiles * parameter_channels + thread % parameter_channels;
  const int slice = thread / parameter_channels, sample = block / tiles - 1;
  const bool of_all = sample < 0;
  const auto* scale = static_cast<const T*>(op.scale_shift);
  const int begin = of_all ? 0 : sample * chunks;
  const int end = of_all ? op.shape.n * chunks : begin + chunks;
  float du = 0, du_normal = 0;
  if (c < channels)
    for (int row = begin + slice; row < end; row += slices) {
      const float* sum = sums + static_cast<std::int64_t>(2) * row * channels + c;
      float weight = 1;
      if (of_all && scale)
        weight +=
            static_cast<float>(scale[static_cast<std::int64_t>(2) * (row / chunks) * channels + c]);
      du += weight * sum[0];
      du_normal += weight * sum[channels];
    }
  partial_du[thread] = du;
  partial_du_normal[thread] = du_normal;
  __syncthreads();
  if (slice > 0 || c >= channels) return;
  for (int i = 1; i < slices; ++i) {
    du += partial_du[i * parameter_channels + thread];
    du_normal += partial_du_normal[i * parameter_channels + thread];
  }
  if (of_all) {
    static_cast<float*>(op.dbeta)[c] = du;
    static_cast<float*>(op.dgamma)[c] = du_normal;
    return;
  }
  T* out = static_cast<T*>(op.dscale_shift) + static_cast<std::int64_t>(2) * sample * channels + c;
  out[0] = T(static_cast<const float*>(op.gamma)[c] * du_normal +
             static_cast<const float*>(op.beta)[c] * du);
  out[channels] = T(du);
}

template <class T>
__global__ void __launch_bounds__(parameter_threads)
    finish_parameters(GroupNormBackward op, const float* sums) {
  parameter_gradients<T>(op, sums, 1, static_cast<int>(blockIdx.x));
}

/// The small launch that ends a backward pass whose sums are over whole samples.
template <class T>
void launch_parameter_gradients(Gpu gpu, const GroupNormBackward& op) {
  launch<finish_parameters<T>>(
      gpu, {dim3(static_cast<unsigned>(parameter_blocks(op))), parameter_threads}, op,
      static_cast<const float*>(op.workspace));
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels::group_norm
