// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation/activation.hpp"

#include "kernels/common/gpu/activation.cuh"
#include "kernels/common/gpu/vector.cuh"

// y = f(x) and dx = dy f'(x), element by element.
//
// Bytes: forward 2 s, backward 3 s an element of s bytes, which is the least possible. Operations:
// at most 60 an element (the error function of gelu), far below what a GPU does while it moves 8
// bytes (H100: 3.35 TB/s against 67 TFLOP/s, 20 operations a byte), except for gelu in bf16. So the
// kernel is bound by memory: each thread moves 16 bytes at a time, neighbours next to each other,
// and needs few registers (see docs/kernel-resources.md), so that 2048 threads of a multiprocessor
// are in flight. Aliasing y = x is safe: a thread writes what it alone has read.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256;

template <class T, int Lanes>
__global__ void __launch_bounds__(threads)
    activation_forward(std::int64_t vectors, ActivationParameters f, const T* x, T* y) {
  for_each_index(vectors, [&](std::int64_t i) {
    Vector<float, Lanes> v = load_float<Lanes>(x + i * Lanes);
#pragma unroll
    for (int k = 0; k < Lanes; ++k) v[k] = activate(f, v[k]);
    store_float(y + i * Lanes, v);
  });
}

template <class T, int Lanes>
__global__ void __launch_bounds__(threads)
    activation_backward(std::int64_t vectors, ActivationParameters f, const T* x, const T* dy,
                        T* dx) {
  for_each_index(vectors, [&](std::int64_t i) {
    const Vector<float, Lanes> v = load_float<Lanes>(x + i * Lanes);
    Vector<float, Lanes> d = load_float<Lanes>(dy + i * Lanes);
#pragma unroll
    for (int k = 0; k < Lanes; ++k) d[k] *= activation_slope(f, v[k]);
    store_float(dx + i * Lanes, d);
  });
}

}  // namespace

void run(Gpu gpu, const ActivationForward& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.count, [&]<class Lanes>(Lanes) {
      const std::int64_t vectors = op.count / Lanes::value;
      launch<activation_forward<T, Lanes::value>>(
          gpu, {blocks_for(vectors, threads), threads}, vectors,
          ActivationParameters{op.activation, op.slope}, static_cast<const T*>(op.x),
          static_cast<T*>(op.y));
    });
  });
}

void run(Gpu gpu, const ActivationBackward& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.count, [&]<class Lanes>(Lanes) {
      const std::int64_t vectors = op.count / Lanes::value;
      launch<activation_backward<T, Lanes::value>>(
          gpu, {blocks_for(vectors, threads), threads}, vectors,
          ActivationParameters{op.activation, op.slope}, static_cast<const T*>(op.x),
          static_cast<const T*>(op.dy), static_cast<T*>(op.dx));
    });
  });
}

}  // namespace anaphase::kernels
