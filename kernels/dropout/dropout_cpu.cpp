// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/vector_math.hpp"
#include "kernels/dropout/dropout.hpp"
#include "kernels/random/philox_cpu.hpp"

namespace anaphase::kernels {

void run(Cpu, const Dropout& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const float rate = op.rate, scale = 1 / (1 - rate);
    parallel_pieces(op.n, op.per_sample, [&](std::int64_t sample, std::int64_t begin, int count) {
      const std::int64_t first = sample * op.per_sample + begin;
      const T* x = static_cast<const T*>(op.x) + first;
      T* y = static_cast<T*>(op.y) + first;
      float u[random_piece];
      uniforms(op.keys[sample], op.draw, begin, count, u);
#pragma omp simd
      for (int i = 0; i < count; ++i) {
        const float scaled = x[i] * scale;
        store(y[i], u[i] >= rate ? scaled : 0.0F);
      }
    });
  });
}

}  // namespace anaphase::kernels
