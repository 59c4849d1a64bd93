// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// 2x2 max-pooling with stride 2: x [n, h, w, c] -> y [n, h/2, w/2, c] (floor: an odd last row or
/// column is dropped). index [n, h/2, w/2, c] (int32) is the position of the maximum in its window,
/// 0..3 in row order, the first of equals; a NaN counts as the maximum.
struct MaxPoolForward {
  int n = 1, h = 2, w = 2, c = 1;
  DType type = DType::f32;
  const void* x = nullptr;
  void* y = nullptr;
  void* index = nullptr;
};

/// dx [n, h, w, c]: each dy goes to the position of its maximum, all else is zero.
struct MaxPoolBackward {
  int n = 1, h = 2, w = 2, c = 1;
  DType type = DType::f32;
  const void* dy = nullptr;
  const void* index = nullptr;
  void* dx = nullptr;
};

void run(Reference, const MaxPoolForward& op);
void run(Reference, const MaxPoolBackward& op);

void run(Cpu, const MaxPoolForward& op);
void run(Cpu, const MaxPoolBackward& op);

void run(Cuda, const MaxPoolForward& op);
void run(Cuda, const MaxPoolBackward& op);

void run(Simt, const MaxPoolForward& op);
void run(Simt, const MaxPoolBackward& op);

}  // namespace anaphase::kernels
