// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation/activation.hpp"
#include "kernels/activation/activation_math.hpp"
#include "kernels/common/parallel.hpp"

namespace anaphase::kernels {
namespace {

template <class T, class F>
void forward(const T* x, std::int64_t count, F f, T* y) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) store(y[i], f(x[i]));
}

template <class T, class F>
void backward(const T* x, const T* dy, std::int64_t count, F f, T* dx) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) store(dx[i], dy[i] * f.slope(x[i]));
}

}  // namespace

void run(Cpu, const ActivationForward& op) {
  with_cpu_type(op.type, [&]<class T>(T) {
    with_activation(op.activation, op.slope, [&](auto f) {
      parallel_chunks(op.count, [&](std::int64_t begin, std::int64_t end) {
        forward(static_cast<const T*>(op.x) + begin, end - begin, f, static_cast<T*>(op.y) + begin);
      });
    });
  });
}

void run(Cpu, const ActivationBackward& op) {
  with_cpu_type(op.type, [&]<class T>(T) {
    with_activation(op.activation, op.slope, [&](auto f) {
      parallel_chunks(op.count, [&](std::int64_t begin, std::int64_t end) {
        backward(static_cast<const T*>(op.x) + begin, static_cast<const T*>(op.dy) + begin,
                 end - begin, f, static_cast<T*>(op.dx) + begin);
      });
    });
  });
}

}  // namespace anaphase::kernels
