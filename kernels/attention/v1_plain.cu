// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.cuh"
#include "kernels/common/gpu/reduce.cuh"

// First rung: the formula. A block of threads owns one row and passes over all rows of the other
// kind, a thread a row, everything read from global memory.
//
//   forward   y_i = sum_j p_ij v_j,  p_ij = exp(scale (q_i . k_j) - lse_i)
//             Pass 1 finds the largest score. Pass 2 computes the scores again, and with them the
//             exponentials, their sum and the weighted sum of the values.
//   backward  ds_ij = p_ij (dy_i . v_j - delta_i);  dq_i = scale sum_j ds_ij k_j;
//             dk_j = scale sum_i ds_ij q_i;  dv_j = sum_i p_ij dy_i.  One pass each.
//
// Bytes: each of N queries reads all keys twice and all values once, 3 s N^2 D a head of N tokens
// and D channels with s bytes an element, where 4 s N D (read qkv, write y) are the least possible;
// caches take most of it for small heads, but each element that arrives is used once: 4 operations
// for each 3 elements. Threads read rows of their own, not neighbouring addresses. Operations:
// 6 N^2 D forward instead of 4, 14 backward instead of 10 (scores and dp are found for dq and again
// for dk, dv). Works for any shape.

namespace anaphase::kernels::attention_ladder {
namespace {

constexpr int threads = 128, warps = threads / 32;

template <class T>
__device__ float dot(const float* a, const T* b, int count) {
  float sum = 0;
  for (int d = 0; d < count; ++d) sum += a[d] * static_cast<float>(b[d]);
  return sum;
}

/// to[d] = row[d] for all channels; each thread takes every 128th.
template <class T>
__device__ void read_row(const T* row, int count, float* to) {
  for (int d = static_cast<int>(threadIdx.x); d < count; d += threads)
    to[d] = static_cast<float>(row[d]);
}

/// sum[d] += weight[i] * rows[first + i][d]; a thread a channel.
template <class T>
__device__ void add_weighted(const AttentionShape& s, const Rows<const T>& rows, int first,
                             const float* weight, float* sum) {
  const int count = min(threads, s.tokens - first);
  for (int d = static_cast<int>(threadIdx.x); d < s.head_dim; d += threads) {
    float total = sum[d];
    for (int i = 0; i < count; ++i) total += weight[i] * static_cast<float>(rows[first + i][d]);
    sum[d] = total;
  }
}

__device__ float block_max(float value, SharedArray<float, warps>& partial) {
  const int thread = static_cast<int>(threadIdx.x);
  value = warp_max(value);
  if (thread % 32 == 0) partial[thread / 32] = value;
  __syncthreads();
  for (int w = 0; w < warps; ++w) value = fmaxf(value, partial[w]);
  __syncthreads();
  return value;
}

template <class T>
__global__ void __launch_bounds__(threads) plain_forward(AttentionForward op) {
  __shared__ SharedArray<float, threads> weight;
  __shared__ SharedArray<float, warps> partial;
  const AttentionShape& s = op.shape;
  const OwnRows own(s, 1);
  const int thread = static_cast<int>(threadIdx.x), query = own.first;
  const Rows<const T> keys = rows_of<const T>(s, op.qkv, own.head, 3, 1);
  const Rows<const T> values = rows_of<const T>(s, op.qkv, own.head, 3, 2);
  float* q = reinterpret_cast<float*>(dynamic_shared());
  float* y = q + s.head_dim;
  read_row(rows_of<const T>(s, op.qkv, own.head, 3, 0)[query], s.head_dim, q);
  for (int d = thread; d < s.head_dim; d += threads) y[d] = 0;
  __syncthreads();

  float largest = -INFINITY;
  for (int key = thread; key < s.tokens; key += threads)
    largest = fmaxf(largest, dot(q, keys[key], s.head_dim));
  largest = block_max(largest, partial);

  const float scale = score_scale(s), c = scale * log2_of_e;
  float sum[1] = {};
  for (int first = 0; first < s.tokens; first += threads) {
    const int key = first + thread;
    float p = 0;
    if (key < s.tokens) p = fast_exp2((dot(q, keys[key], s.head_dim) - largest) * c);
    sum[0] += p;
    weight[thread] = p;
    __syncthreads();
    add_weighted(s, values, first, weight.data(), y);
    __syncthreads();
  }
  block_sums<threads>(sum, partial);
  T* to = rows_of<T>(s, op.y, own.head)[query];
  for (int d = thread; d < s.head_dim; d += threads) to[d] = T(y[d] / sum[0]);
  if (thread == 0)
    static_cast<float*>(op.log_sum_exp)[std::int64_t{own.head} * s.tokens + query] =
        largest * scale + logf(sum[0]);
}

// Without a number of blocks, ptxas spills for one more of them on 8.6 and 8.9.
template <class T, Owner owner>
__global__ void __launch_bounds__(threads, 5) plain_backward(AttentionBackward op) {
  constexpr int outputs = owner == Owner::keys ? 2 : 1;
  __shared__ SharedArray<float, threads> weight[outputs];  // dscore, probability
  const AttentionShape& s = op.shape;
  const OwnRows own(s, 1);
  const BackwardRows<T, owner> rows(op, own.head);
  const int thread = static_cast<int>(threadIdx.x);
  float* row[2];
  float* sum[outputs];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    row[i] = reinterpret_cast<float*>(dynamic_shared()) + i * s.head_dim;
    read_row(rows.own[i][own.first], s.head_dim, row[i]);
  }
#pragma unroll
  for (int i = 0; i < outputs; ++i) {
    sum[i] = row[1] + (1 + i) * s.head_dim;
    for (int d = thread; d < s.head_dim; d += threads) sum[i][d] = 0;
  }
  __syncthreads();

  const float scale = score_scale(s), c = scale * log2_of_e;
  for (int first = 0; first < s.tokens; first += threads) {
    const int other = first + thread;
    float p = 0, dscore = 0;
    if (other < s.tokens) {
      const int query = owner == Owner::queries ? own.first : other;
      const float score = dot(row[0], rows.other[0][other], s.head_dim);
      p = fast_exp2(score * c - rows.log_sum_exp[query] * log2_of_e);
      dscore = p * (dot(row[1], rows.other[1][other], s.head_dim) - rows.delta[query]);
    }
    weight[0][thread] = dscore;
    if constexpr (outputs == 2) weight[1][thread] = p;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < outputs; ++i)
      add_weighted(s, rows.other[i], first, weight[i].data(), sum[i]);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < outputs; ++i)
    for (int d = thread; d < s.head_dim; d += threads)
      rows.gradient[i][own.first][d] = T(sum[i][d] * (i == 0 ? scale : 1));
}

}  // namespace

void v1_plain(Gpu gpu, const AttentionForward& op) {
  const std::size_t shared_bytes = 2 * sizeof(float) * op.shape.head_dim;
  with_gpu_type(op.type, [&]<class T>(T) {
    launch<plain_forward<T>>(gpu, {head_blocks(op.shape, 1), threads, shared_bytes}, op);
  });
}

void v1_plain(Gpu gpu, const AttentionBackward& op) {
  find_delta(gpu, op);
  const Grid grid{head_blocks(op.shape, 1), threads, 4 * sizeof(float) * op.shape.head_dim};
  with_gpu_type(op.type, [&]<class T>(T) {
    launch<plain_backward<T, Owner::keys>>(gpu, grid, op);
    launch<plain_backward<T, Owner::queries>>(gpu, grid, op);
  });
}

}  // namespace anaphase::kernels::attention_ladder
