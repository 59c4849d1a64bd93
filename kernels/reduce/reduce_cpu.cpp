// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/parallel.hpp"
#include "kernels/reduce/reduce.hpp"

namespace anaphase::kernels {
namespace {

/// A function of its own: inside a lambda GCC adds one element after the other.
template <class T>
double sum_of(const T* x, std::int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += static_cast<float>(x[i]);
  return sum;
}

}  // namespace

std::size_t workspace_bytes(Cpu, const Sum& op) {
  return static_cast<std::size_t>(chunks_of(op.count)) * sizeof(double);
}

void run(Cpu, const Sum& op) {
  auto* partial = static_cast<double*>(op.workspace);
  with_cpu_type(op.type, [&](auto tag) {
    const auto* x = static_cast<const decltype(tag)*>(op.x);
    parallel_chunks(op.count, [=](std::int64_t begin, std::int64_t end) {
      partial[begin / chunk_size] = sum_of(x + begin, end - begin);
    });
  });
  double sum = 0;
  for (std::int64_t i = 0; i < chunks_of(op.count); ++i) sum += partial[i];
  *static_cast<float*>(op.y) = static_cast<float>(op.scale * sum);
}

}  // namespace anaphase::kernels
