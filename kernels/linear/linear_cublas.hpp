// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/linear/linear.hpp"

namespace anaphase::kernels {

// The yardstick: matrix products by cuBLASLt under the same contract, for tests and benchmarks to
// call in the place of `run`, in builds with ANAPHASE_CUBLAS.

/// Whether cuBLASLt computes the operation on the device in one call. Forward it fuses a residual,
/// relu, and for f32 a bias: next to bf16 results it takes no bias in float, of activations it
/// knows relu and an approximation of gelu. The weight gradient comes with dbias. Reads which
/// pointers are null.
bool linear_cublas_takes(Cuda, const LinearForward& op);
bool linear_cublas_takes(Cuda, const LinearInputGradient& op);
bool linear_cublas_takes(Cuda, const LinearWeightGradient& op);

/// Throws Error for an operation that it does not take.
void linear_cublas(Cuda, const LinearForward& op);
void linear_cublas(Cuda, const LinearInputGradient& op);
void linear_cublas(Cuda, const LinearWeightGradient& op);
std::size_t linear_cublas_workspace_bytes(Cuda, const LinearForward& op);
std::size_t linear_cublas_workspace_bytes(Cuda, const LinearInputGradient& op);
std::size_t linear_cublas_workspace_bytes(Cuda, const LinearWeightGradient& op);

}  // namespace anaphase::kernels
