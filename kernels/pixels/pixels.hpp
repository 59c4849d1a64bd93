// SPDX-License-Identifier: Apache-2.0
#pragma once

// Between images of 8-bit pixels, as cameras and viewers hold them, and tensors. The 8-bit side has
// strides in bytes and may start anywhere; what lies between its rows is neither read nor written.

#include <cstdint>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// y = (x / 255 - mean) / std: pixels x [n, h, w, c], channels interleaved, to activations y [n, h,
/// w, c]; mean and std [c].
struct NormalisePixels {
  int n = 1, h = 1, w = 1, c = 1;
  DType type = DType::f32;
  std::int64_t row_stride = 0, image_stride = 0;  // of x
  const std::uint8_t* x = nullptr;
  const void* mean = nullptr;
  const void* std = nullptr;
  void* y = nullptr;
};

/// mask [n, h, w] holds the class of the largest of the values p [n, h, w, classes] in
/// param_type(type), the first of equals; a NaN is larger than nothing and exceeded by nothing.
/// 1 to 256 classes.
struct LargestClass {
  int n = 1, h = 1, w = 1, classes = 2;
  DType type = DType::f32;
  const void* p = nullptr;
  std::int64_t row_stride = 0, image_stride = 0;  // of mask
  std::uint8_t* mask = nullptr;
};

void run(Reference, const NormalisePixels& op);
void run(Reference, const LargestClass& op);

void run(Cpu, const NormalisePixels& op);
void run(Cpu, const LargestClass& op);

void run(Cuda, const NormalisePixels& op);
void run(Cuda, const LargestClass& op);

void run(Simt, const NormalisePixels& op);
void run(Simt, const LargestClass& op);

}  // namespace anaphase::kernels
