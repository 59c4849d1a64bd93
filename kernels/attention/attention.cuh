// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the rungs of the ladder share: where the rows of a head lie, which of them a block owns, and
// how tiles of them reach shared memory.
//
// Softmax runs in powers of two, which is what the hardware has: exp(scale s) = 2^(c s) with
// c = scale log2(e), scale = 1 / sqrt(head_dim).

#include "kernels/attention/ladder.hpp"
#include "kernels/common/gpu/async_copy.cuh"
#include "kernels/common/gpu/exponential.cuh"
#include "kernels/common/gpu/vector.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

inline constexpr float log2_of_e = 1.44269504F;

__device__ inline float score_scale(const AttentionShape& s) {
  return 1.0F / sqrtf(static_cast<float>(s.head_dim));
}

/// The rows of one head, one of head_dim elements a token.
template <class T>
struct Rows {
  T* first;
  std::int64_t stride;

  __device__ T* operator[](int token) const { return first + token * stride; }
};

/// Head `head` (of all samples) of part `part` of a [n, tokens, parts, heads, head_dim] tensor.
template <class T, class Tensor>
__device__ Rows<T> rows_of(const AttentionShape& s, Tensor* tensor, int head, int parts = 1,
                           int part = 0) {
  const std::int64_t row = std::int64_t{s.heads} * s.head_dim;
  const std::int64_t sample = head / s.heads;
  return {static_cast<T*>(tensor) + (sample * s.tokens * parts + part) * row +
              static_cast<std::int64_t>(head % s.heads) * s.head_dim,
          parts * row};
}

/// Whose gradients a backward kernel sums up: those of queries (dq), passing over all keys, or
/// those of keys and values (dk, dv), passing over all queries. Either way a block owns some rows
/// of the one kind, and two pairs of rows meet: own[0] . other[0] is a score, own[1] . other[1] the
/// gradient of a probability.
enum class Owner { queries, keys };

/// The rows a backward kernel works on. The gradient of own[0] is the sum of other[0] weighted with
/// the gradients of the scores; that of own[1], where the owner is a key, the sum of other[1]
/// weighted with the probabilities.
template <class T, Owner owner>
struct BackwardRows {
  Rows<const T> own[2], other[2];
  Rows<T> gradient[2];
  const float *log_sum_exp, *delta;  // of the head's queries

  __device__ BackwardRows(const AttentionBackward& op, int head) {
    const AttentionShape& s = op.shape;
    Rows<const T> queries[2] = {rows_of<const T>(s, op.qkv, head, 3, 0),
                                rows_of<const T>(s, op.dy, head)};
    Rows<const T> keys[2] = {rows_of<const T>(s, op.qkv, head, 3, 1),
                             rows_of<const T>(s, op.qkv, head, 3, 2)};
    constexpr bool is_query = owner == Owner::queries;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      own[i] = is_query ? queries[i] : keys[i];
      other[i] = is_query ? keys[i] : queries[i];
      gradient[i] = rows_of<T>(s, op.dqkv, head, 3, is_query ? 0 : 1 + i);
    }
    const std::int64_t first = static_cast<std::int64_t>(head) * s.tokens;
    log_sum_exp = static_cast<const float*>(op.log_sum_exp) + first;
    delta = static_cast<const float*>(op.workspace) + first;
  }
};

/// Blocks for all heads of all samples, each with `rows` rows of one head; those of a head are
/// neighbours, which share what they read in the second-level cache.
inline dim3 head_blocks(const AttentionShape& s, int rows) {
  return dim3(static_cast<unsigned>(s.n * s.heads * ceil_div(s.tokens, rows)));
}

/// What the calling block owns.
struct OwnRows {
  int head, first;

  __device__ OwnRows(const AttentionShape& s, int rows) {
    const int block = static_cast<int>(blockIdx.x), tiles = ceil_div(s.tokens, rows);
    head = block / tiles;
    first = block % tiles * rows;
  }
};

/// Calls f(std::integral_constant<int, D>{}) with the narrowest D of the templates that holds
/// head_dim, which is 128 at most.
template <class F>
void with_width(int head_dim, F&& f) {
  if (head_dim <= 16) return f(std::integral_constant<int, 16>{});
  if (head_dim <= 32) return f(std::integral_constant<int, 32>{});
  if (head_dim <= 64) return f(std::integral_constant<int, 64>{});
  return f(std::integral_constant<int, 128>{});
}

/// Begins to copy `Count` rows from `first` on into a tile of `D` columns, `Stride` elements from
/// row to row; zeros behind the last token and behind head_dim, which is a multiple of 16 bytes.
template <int Count, int D, int Stride, int Threads, class T>
__device__ void copy_rows(const AttentionShape& s, const Rows<const T>& rows, int first, T* tile) {
  constexpr int vectors = D / lanes_of<T>, step = Threads / vectors;
  static_assert(Threads % vectors == 0 && Count % step == 0);
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / vectors, column = thread % vectors * lanes_of<T>;
  const bool has_column = column < s.head_dim;
  const T* from = rows.first + (has_column ? column : 0);
  tile += row * Stride + column;
  // A few at a time: the addresses of all would take registers from the sums.
#pragma unroll 4
  for (int i = 0; i < Count; i += step) {
    const int token = first + row + i;
    async_copy_16(tile + i * Stride, from + min(token, s.tokens - 1) * rows.stride,
                  has_column && token < s.tokens);
  }
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
