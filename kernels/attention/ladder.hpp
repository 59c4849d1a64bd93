// SPDX-License-Identifier: Apache-2.0
#pragma once

// The rungs that lead to the attention kernels, one idea a file, all of them compiled, tested and
// timed (kernels/attention/README.md). attention.cu takes the highest one that takes the shape.

#include "kernels/attention/attention.hpp"

namespace anaphase::kernels::attention_ladder {

// v1: a block of threads a row, everything from global memory. Any shape.
// v2: tiles in shared memory, online softmax. head_dim up to 128.
// v3: tiles in registers, copies beside arithmetic. float32, head_dim a multiple of 4 up to 128.
// v4: tensor cores. bf16, head_dim a multiple of 8 up to 128; compute capability 8.0.
// Backward, op.workspace is what workspace_bytes(device, op) asks for.

void v1_plain(Cuda, const AttentionForward& op);
void v1_plain(Cuda, const AttentionBackward& op);
void v2_tiled(Cuda, const AttentionForward& op);
void v2_tiled(Cuda, const AttentionBackward& op);
void v3_pipelined(Cuda, const AttentionForward& op);
void v3_pipelined(Cuda, const AttentionBackward& op);
void v4_tensor_core(Cuda, const AttentionForward& op);
void v4_tensor_core(Cuda, const AttentionBackward& op);

void v1_plain(Simt, const AttentionForward& op);
void v1_plain(Simt, const AttentionBackward& op);
void v2_tiled(Simt, const AttentionForward& op);
void v2_tiled(Simt, const AttentionBackward& op);
void v3_pipelined(Simt, const AttentionForward& op);
void v3_pipelined(Simt, const AttentionBackward& op);
void v4_tensor_core(Simt, const AttentionForward& op);
void v4_tensor_core(Simt, const AttentionBackward& op);

/// The first step of every backward rung: the sum over channels of dy * y for each row,
/// [n, heads, tokens] in the workspace.
void find_delta(Cuda, const AttentionBackward& op);
void find_delta(Simt, const AttentionBackward& op);

template <class Device, class Operation>
struct Rung {
  const char* name;
  /// Whether it can run a shape on a device of an architecture (80: compute capability 8.0).
  bool (*takes)(const AttentionShape& shape, DType type, int architecture);
  void (*run)(Device device, const Operation& op);
};

/// From the bottom up.
template <class Device, class Operation>
inline constexpr Rung<Device, Operation> rungs[] = {
    {"v1_plain", [](const AttentionShape&, DType, int) { return true; }, v1_plain},
    {"v2_tiled", [](const AttentionShape& s, DType, int) { return s.head_dim <= 128; }, v2_tiled},
    {"v3_pipelined",
     [](const AttentionShape& s, DType type, int architecture) {
       const int widest = architecture >= 80 ? 128 : 64;  // 7.5 has less shared memory
       return type == DType::f32 && s.head_dim % 4 == 0 && s.head_dim <= widest;
     },
     v3_pipelined},
    {"v4_tensor_core",
     [](const AttentionShape& s, DType type, int architecture) {
       return type == DType::bf16 && s.head_dim % 8 == 0 && s.head_dim <= 128 && architecture >= 80;
     },
     v4_tensor_core},
};

}  // namespace anaphase::kernels::attention_ladder
