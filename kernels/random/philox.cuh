// SPDX-License-Identifier: Apache-2.0
#pragma once

// Random numbers for the GPU kernels, and the loop that goes with them. A block of Philox serves
// four neighbouring elements of a sample; a thread computes a piece in one go. Where the length of
// samples allows, as that of images does, a piece is what fills 16 bytes (4 elements in f32, 8 in
// bf16), loaded and stored as a vector; else it is 4 elements, accessed one by one.

#include "kernels/common/gpu/vector.cuh"
#include "kernels/random/normal.hpp"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

inline constexpr int piece_threads = 256;

/// Elements of a piece.
template <class T, bool Whole>
inline constexpr int piece_of = Whole ? lanes_of<T> : 4;

/// f(T{}, Whole{}) with the type of the operation's elements and std::true_type where all pieces
/// are whole 16 bytes, else std::false_type.
template <class Operation, class F>
void with_pieces(const Operation& op, F&& f) {
  with_gpu_type(op.type, [&]<class T>(T zero) {
    if (op.per_sample % lanes_of<T> == 0) return f(zero, std::true_type{});
    return f(zero, std::false_type{});
  });
}

/// A thread for each piece of `elements` elements, samples along y.
template <class Operation>
Grid piece_grid(const Operation& op, int elements) {
  const std::int64_t pieces = ceil_div<std::int64_t>(op.per_sample, elements);
  return {sample_blocks(blocks_for(pieces, piece_threads), op.n), piece_threads};
}

/// body(sample, begin) for the pieces of N elements of n samples.
template <int N, class Body>
__device__ void for_each_piece(int n, std::int64_t per_sample, Body&& body) {
  for_each_sample(n, [&](int sample) {
    for_each_index(ceil_div<std::int64_t>(per_sample, N),
                   [&](std::int64_t i) { body(sample, i * N); });
  });
}

/// The elements of a piece as floats; unless it is whole, `left` elements are there.
template <int N, bool Whole, class T>
__device__ Vector<float, N> load_piece(const T* from, std::int64_t left) {
  if constexpr (Whole) {
    return load_float<N>(from);
  } else {
    Vector<float, N> value{};
#pragma unroll
    for (int k = 0; k < N; ++k)
      if (k < left) value[k] = static_cast<float>(from[k]);
    return value;
  }
}

template <bool Whole, class T, int N>
__device__ void store_piece(T* to, const Vector<float, N>& value, std::int64_t left) {
  if constexpr (Whole) {
    store_float(to, value);
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k)
      if (k < left) to[k] = T(value[k]);
  }
}

/// Uniform numbers of the N elements (a multiple of 4) from `begin` (likewise) on.
template <int N>
__device__ Vector<float, N> uniforms(std::uint64_t key, std::uint32_t draw, std::int64_t begin) {
  Vector<float, N> u;
#pragma unroll
  for (int k = 0; k < N; k += 4) {
    const PhiloxBlock block = philox(key, static_cast<std::uint64_t>((begin + k) / 4), draw);
#pragma unroll
    for (int lane = 0; lane < 4; ++lane) u[k + lane] = uniform_from_bits(block.lane[lane]);
  }
  return u;
}

/// Normal numbers, likewise.
template <int N>
__device__ Vector<float, N> normals(std::uint64_t key, std::uint32_t draw, std::int64_t begin) {
  Vector<float, N> z;
#pragma unroll
  for (int k = 0; k < N; k += 4)
    normals_of_block(philox(key, static_cast<std::uint64_t>((begin + k) / 4), draw), z.lane + k);
  return z;
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
