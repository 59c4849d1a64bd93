// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// y[i] = value; any type but u64.
struct Fill {
  std::int64_t count = 0;
  DType type = DType::f32;
  double value = 0;
  void* y = nullptr;
};

/// y[i] = x[i], converted between floating-point types (f32 <-> bf16, on the reference device any
/// pair that includes f64) or copied within any one type. Rounds to nearest even.
struct Cast {
  std::int64_t count = 0;
  DType from = DType::f32, to = DType::f32;
  const void* x = nullptr;
  void* y = nullptr;
};

/// y = alpha * a + beta * b, times *factor where that is given. b may be null (beta unused); factor
/// is one value of param type in device memory, so that a replayed program can be given another
/// (null: 1). y may be a or b itself.
struct AddScaled {
  std::int64_t count = 0;
  DType type = DType::f32;
  const void* a = nullptr;
  const void* b = nullptr;
  double alpha = 1, beta = 1;
  const void* factor = nullptr;
  void* y = nullptr;
};

/// y[n, p, c] = x[n, p, c] + v[n, c]: one vector a sample added to all its pixels. y may be x.
struct AddPerSample {
  int n = 1;
  std::int64_t pixels = 1;
  int channels = 1;
  DType type = DType::f32;
  const void* x = nullptr;
  const void* v = nullptr;
  void* y = nullptr;
};

/// v[n, c] = sum over p of x[n, p, c]: the backward pass of AddPerSample for v.
struct SumPerSample {
  int n = 1;
  std::int64_t pixels = 1;
  int channels = 1;
  DType type = DType::f32;
  const void* x = nullptr;
  void* v = nullptr;
};

void run(Reference, const Fill& op);
void run(Reference, const Cast& op);
void run(Reference, const AddScaled& op);
void run(Reference, const AddPerSample& op);
void run(Reference, const SumPerSample& op);

void run(Cpu, const Fill& op);
void run(Cpu, const Cast& op);
void run(Cpu, const AddScaled& op);
void run(Cpu, const AddPerSample& op);
void run(Cpu, const SumPerSample& op);

void run(Cuda, const Fill& op);
void run(Cuda, const Cast& op);
void run(Cuda, const AddScaled& op);
void run(Cuda, const AddPerSample& op);
void run(Cuda, const SumPerSample& op);

void run(Simt, const Fill& op);
void run(Simt, const Cast& op);
void run(Simt, const AddScaled& op);
void run(Simt, const AddPerSample& op);
void run(Simt, const SumPerSample& op);

}  // namespace anaphase::kernels
