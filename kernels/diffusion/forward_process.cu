// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/reverse_step.cuh"

// The forward process x_t = signal * x + level * noise, its gradient, and its inverse for a known
// noise, with signal and level of each sample's timestep.
//
// Bytes an element of s bytes: 2 s for noising (3 s where the noise is kept) and for the gradient,
// 3 s for the inverse, the least possible. Instructions: about 60 an element for noising (see
// kernels/random/random.cu), 8 to 15 a byte, on the edge of what an H100 issues (9 a byte); fewer
// than 10 otherwise. 16 bytes a thread at a time; square roots once a sample. Aliasing is safe: a
// thread writes what it alone has read.

namespace anaphase::kernels {
namespace {

/// What a timestep makes of signal and noise.
struct Levels {
  float signal, noise;

  __device__ Levels(const void* alpha_bar, std::int32_t t) {
    const float level = static_cast<const float*>(alpha_bar)[t];
    signal = sqrtf(level);
    noise = sqrtf(1 - level);
  }
};

template <class T, bool Whole>
__global__ void __launch_bounds__(piece_threads) add_noise(ForwardNoise op) {
  constexpr int N = piece_of<T, Whole>;
  for_each_piece<N>(op.n, op.per_sample, [&](int sample, std::int64_t begin) {
    const std::int64_t at = sample * op.per_sample + begin, left = op.per_sample - begin;
    Vector<float, N> x = load_piece<N, Whole>(static_cast<const T*>(op.x) + at, left);
    const Levels level(op.alpha_bar, op.t[sample]);
    const Vector<float, N> z = normals<N>(op.keys[sample], op.draw, begin);
#pragma unroll
    for (int k = 0; k < N; ++k) x[k] = level.signal * x[k] + level.noise * z[k];
    store_piece<Whole>(static_cast<T*>(op.x_t) + at, x, left);
    if (op.noise) store_piece<Whole>(static_cast<T*>(op.noise) + at, z, left);
  });
}

template <class T, bool Whole>
__global__ void __launch_bounds__(piece_threads) scale_gradient(ForwardNoiseBackward op) {
  constexpr int N = piece_of<T, Whole>;
  for_each_piece<N>(op.n, op.per_sample, [&](int sample, std::int64_t begin) {
    const std::int64_t at = sample * op.per_sample + begin, left = op.per_sample - begin;
    Vector<float, N> d = load_piece<N, Whole>(static_cast<const T*>(op.dx_t) + at, left);
    const float signal = Levels(op.alpha_bar, op.t[sample]).signal;
#pragma unroll
    for (int k = 0; k < N; ++k) d[k] *= signal;
    store_piece<Whole>(static_cast<T*>(op.dx) + at, d, left);
  });
}

template <class T, bool Whole>
__global__ void __launch_bounds__(piece_threads) remove_noise(PredictClean op) {
  constexpr int N = piece_of<T, Whole>;
  for_each_piece<N>(op.n, op.per_sample, [&](int sample, std::int64_t begin) {
    const std::int64_t at = sample * op.per_sample + begin, left = op.per_sample - begin;
    Vector<float, N> x = load_piece<N, Whole>(static_cast<const T*>(op.x_t) + at, left);
    const Vector<float, N> z = load_piece<N, Whole>(static_cast<const T*>(op.noise) + at, left);
    const Levels level(op.alpha_bar, op.t[sample]);
    const float scale = 1 / level.signal;
#pragma unroll
    for (int k = 0; k < N; ++k) x[k] = clamp((x[k] - level.noise * z[k]) * scale, op.low, op.high);
    store_piece<Whole>(static_cast<T*>(op.x0) + at, x, left);
  });
}

}  // namespace

void run(Gpu gpu, const ForwardNoise& op) {
  with_pieces(op, [&]<class T, class Whole>(T, Whole) {
    launch<add_noise<T, Whole::value>>(gpu, piece_grid(op, piece_of<T, Whole::value>), op);
  });
}

void run(Gpu gpu, const ForwardNoiseBackward& op) {
  with_pieces(op, [&]<class T, class Whole>(T, Whole) {
    launch<scale_gradient<T, Whole::value>>(gpu, piece_grid(op, piece_of<T, Whole::value>), op);
  });
}

void run(Gpu gpu, const PredictClean& op) {
  with_pieces(op, [&]<class T, class Whole>(T, Whole) {
    launch<remove_noise<T, Whole::value>>(gpu, piece_grid(op, piece_of<T, Whole::value>), op);
  });
}

}  // namespace anaphase::kernels
