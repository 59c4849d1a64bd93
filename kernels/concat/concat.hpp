// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// Joins channels: y[r] = (a[r], b[r]), a [rows, channels_a], b [rows, channels_b], y [rows, both].
struct Concat {
  std::int64_t rows = 0;
  int channels_a = 0, channels_b = 0;
  DType type = DType::f32;
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;
};

/// The inverse, and the backward pass of Concat; either output may be null (not wanted).
struct Split {
  std::int64_t rows = 0;
  int channels_a = 0, channels_b = 0;
  DType type = DType::f32;
  const void* y = nullptr;
  void* a = nullptr;
  void* b = nullptr;
};

void run(Reference, const Concat& op);
void run(Reference, const Split& op);

void run(Cpu, const Concat& op);
void run(Cpu, const Split& op);

void run(Cuda, const Concat& op);
void run(Cuda, const Split& op);

void run(Simt, const Concat& op);
void run(Simt, const Split& op);

}  // namespace anaphase::kernels
