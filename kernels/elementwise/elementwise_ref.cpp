// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise.hpp"

#include <cstring>

namespace anaphase::kernels {
namespace {

double load(const void* data, DType type, std::int64_t i) {
  switch (type) {
    case DType::f32:
      return static_cast<const float*>(data)[i];
    case DType::bf16:
      return static_cast<float>(static_cast<const bf16*>(data)[i]);
    case DType::f64:
      return static_cast<const double*>(data)[i];
    default:
      throw Error("integers are not converted: cast between floating-point types");
  }
}

void store(void* data, DType type, std::int64_t i, double value) {
  switch (type) {
    case DType::f32:
      static_cast<float*>(data)[i] = static_cast<float>(value);
      return;
    case DType::bf16:
      static_cast<bf16*>(data)[i] = bf16(static_cast<float>(value));
      return;
    case DType::f64:
      static_cast<double*>(data)[i] = value;
      return;
    case DType::i32:
      static_cast<std::int32_t*>(data)[i] = static_cast<std::int32_t>(value);
      return;
    case DType::u64:
      throw Error("keys are neither filled nor converted: copy them from the host");
  }
}

}  // namespace

void run(Reference, const Fill& op) {
  for (std::int64_t i = 0; i < op.count; ++i) store(op.y, op.type, i, op.value);
}

void run(Reference, const Cast& op) {
  if (op.from == op.to) {
    std::memcpy(op.y, op.x, static_cast<std::size_t>(op.count) * size_of(op.from));
    return;
  }
  for (std::int64_t i = 0; i < op.count; ++i) store(op.y, op.to, i, load(op.x, op.from, i));
}

void run(Reference, const AddScaled& op) {
  const auto* a = static_cast<const double*>(op.a);
  const auto* b = static_cast<const double*>(op.b);
  auto* y = static_cast<double*>(op.y);
  const double factor = op.factor ? *static_cast<const double*>(op.factor) : 1;
  for (std::int64_t i = 0; i < op.count; ++i)
    y[i] = (op.alpha * a[i] + (b ? op.beta * b[i] : 0)) * factor;
}

void run(Reference, const AddPerSample& op) {
  const auto* x = static_cast<const double*>(op.x);
  const auto* v = static_cast<const double*>(op.v);
  auto* y = static_cast<double*>(op.y);
  for (int n = 0; n < op.n; ++n)
    for (std::int64_t p = 0; p < op.pixels; ++p)
      for (int c = 0; c < op.channels; ++c) {
        const std::int64_t i = (n * op.pixels + p) * op.channels + c;
        y[i] = x[i] + v[n * op.channels + c];
      }
}

void run(Reference, const SumPerSample& op) {
  const auto* x = static_cast<const double*>(op.x);
  auto* v = static_cast<double*>(op.v);
  for (int n = 0; n < op.n; ++n)
    for (int c = 0; c < op.channels; ++c) {
      double sum = 0;
      for (std::int64_t p = 0; p < op.pixels; ++p) sum += x[(n * op.pixels + p) * op.channels + c];
      v[n * op.channels + c] = sum;
    }
}

}  // namespace anaphase::kernels
