// SPDX-License-Identifier: Apache-2.0
#pragma once

// Loads and stores of several elements at once (16 bytes a thread is what keeps the memory of a GPU
// busy with few instructions), and arithmetic in float on elements of either type.

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// N elements that lie together, aligned to their size.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T lane[N];

  __device__ T& operator[](int i) { return lane[i]; }
  __device__ const T& operator[](int i) const { return lane[i]; }
};

/// Elements of T in 16 bytes.
template <class T>
inline constexpr int lanes_of = static_cast<int>(16 / sizeof(T));

/// The widest vector, 1 to lanes_of<T>, that divides `count` elements starting at aligned pointers.
template <class T>
int usable_lanes(std::int64_t count) {
  int lanes = lanes_of<T>;
  while (count % lanes != 0) lanes /= 2;
  return lanes;
}

/// f(std::integral_constant<int, N>{}) for the N of {1, lanes_of<T>} that divides `count`.
template <class T, class F>
void with_lanes(std::int64_t count, F&& f) {
  if (count % lanes_of<T> == 0) return f(std::integral_constant<int, lanes_of<T>>{});
  return f(std::integral_constant<int, 1>{});
}

template <int N, class T>
__device__ Vector<T, N> load(const T* from) {
#if !defined(__CUDACC__)
  simt::require_aligned(from, sizeof(Vector<T, N>));
#endif
  return *reinterpret_cast<const Vector<T, N>*>(from);
}

template <class T, int N>
__device__ void store(T* to, const Vector<T, N>& value) {
#if !defined(__CUDACC__)
  simt::require_aligned(to, sizeof value);
#endif
  *reinterpret_cast<Vector<T, N>*>(to) = value;
}

/// N elements as floats.
template <int N, class T>
__device__ Vector<float, N> load_float(const T* from) {
  const Vector<T, N> raw = load<N>(from);
  Vector<float, N> value;
#pragma unroll
  for (int i = 0; i < N; ++i) value[i] = static_cast<float>(raw[i]);
  return value;
}

/// N floats, rounded to T.
template <class T, int N>
__device__ void store_float(T* to, const Vector<float, N>& value) {
  Vector<T, N> raw;
#pragma unroll
  for (int i = 0; i < N; ++i) raw[i] = T(value[i]);
  store(to, raw);
}

/// Hides from the compiler where a value came from, so that what has been computed from it is
/// computed again where it is wanted again, instead of held in registers meanwhile.
template <class T, int N>
__device__ void forget_origin([[maybe_unused]] Vector<T, N>& value) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(value) % 4 == 0) {
    auto* words = reinterpret_cast<unsigned*>(&value);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(value) / 4); ++i) asm volatile("" : "+r"(words[i]));
  }
#endif
}

/// body(std::integral_constant<int, N>{}, i) for the N elements from i on, spread over all threads
/// (Lanes or more) of a one-dimensional grid, so that [0, count) is covered: N = Lanes, and 1 for
/// each element of the tail.
template <int Lanes, class Body>
__device__ void for_each_vector(std::int64_t count, Body&& body) {
  for_each_index(count / Lanes,
                 [&](std::int64_t i) { body(std::integral_constant<int, Lanes>{}, i * Lanes); });
  const int tail = static_cast<int>(count % Lanes);
  if (blockIdx.x == 0 && static_cast<int>(threadIdx.x) < tail)
    body(std::integral_constant<int, 1>{}, count - tail + threadIdx.x);
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
