// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/attention/attention.hpp"

namespace anaphase::kernels {

// The yardstick: attention by cuDNN 9.13 or later under the same contract, for tests and benchmarks
// to call in the place of `run`, in builds with ANAPHASE_CUDNN. Forward alone (README.md).

/// Whether cuDNN has an engine for the operation on the device: for bf16, from compute capability
/// 8.0 on, where head_dim is a multiple of 8.
bool attention_cudnn_takes(Cuda, const AttentionForward& op);

/// Throws Error for an operation that it does not take.
void attention_cudnn(Cuda, const AttentionForward& op);
std::size_t attention_cudnn_workspace_bytes(Cuda, const AttentionForward& op);

}  // namespace anaphase::kernels
