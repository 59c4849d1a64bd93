// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// y = gain * softmax(x) + offset over the classes of each row; x, y [rows, classes]. gain 1,
/// offset 0 gives probabilities; gain 2, offset -1 the mask signal of a diffusion network. y may be
/// x itself.
struct SoftmaxForward {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  float gain = 1, offset = 0;
  const void* x = nullptr;
  void* y = nullptr;
};

/// dx = gain * p * (dy - sum(p * dy)) with p = (y - offset) / gain. dx may be dy itself.
struct SoftmaxBackward {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  float gain = 1, offset = 0;
  const void* y = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
};

/// label[r] = the class with the largest x[r, c], the lowest of equals; ignore_label where the
/// largest probability of the row is below `confidence` (0: never). x are logits, whose softmax is
/// the probability, or with `probabilities` the probabilities themselves.
struct Argmax {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  float confidence = 0;
  bool probabilities = false;
  const void* x = nullptr;
  std::int32_t* labels = nullptr;
};

/// y[r, c] = on where c is labels[r], else off; a negative label gives off everywhere.
struct OneHot {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  float on = 1, off = 0;
  const std::int32_t* labels = nullptr;
  void* y = nullptr;
};

/// A label that losses leave out.
inline constexpr std::int32_t ignore_label = -1;

void run(Reference, const SoftmaxForward& op);
void run(Reference, const SoftmaxBackward& op);
void run(Reference, const Argmax& op);
void run(Reference, const OneHot& op);

void run(Cpu, const SoftmaxForward& op);
void run(Cpu, const SoftmaxBackward& op);
void run(Cpu, const Argmax& op);
void run(Cpu, const OneHot& op);

void run(Cuda, const SoftmaxForward& op);
void run(Cuda, const SoftmaxBackward& op);
void run(Cuda, const Argmax& op);
void run(Cuda, const OneHot& op);

void run(Simt, const SoftmaxForward& op);
void run(Simt, const SoftmaxBackward& op);
void run(Simt, const Argmax& op);
void run(Simt, const OneHot& op);

}  // namespace anaphase::kernels
