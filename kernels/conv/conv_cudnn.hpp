// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/conv/conv.hpp"

namespace anaphase::kernels {

// The yardstick: convolution by cuDNN 9 under the same contract, for tests and benchmarks to call
// in the place of `run`, in builds with ANAPHASE_CUDNN. Bias, residual and activation are fused; of
// the weight gradient there is no dbias.

/// Whether cuDNN has an engine for the operation on the device.
bool conv_cudnn_takes(Cuda, const ConvForward& op);
bool conv_cudnn_takes(Cuda, const ConvInputGradient& op);
bool conv_cudnn_takes(Cuda, const ConvWeightGradient& op);

/// Throws Error for an operation that it does not take.
void conv_cudnn(Cuda, const ConvForward& op);
void conv_cudnn(Cuda, const ConvInputGradient& op);
void conv_cudnn(Cuda, const ConvWeightGradient& op);
std::size_t conv_cudnn_workspace_bytes(Cuda, const ConvForward& op);
std::size_t conv_cudnn_workspace_bytes(Cuda, const ConvInputGradient& op);
std::size_t conv_cudnn_workspace_bytes(Cuda, const ConvWeightGradient& op);

}  // namespace anaphase::kernels
