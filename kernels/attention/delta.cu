// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.cuh"
#include "kernels/common/gpu/reduce.cuh"

// delta_i = sum over channels of dy_i y_i, which equals the sum over keys of p_ij dp_ij: what the
// softmax's gradient subtracts, had without another pass over the keys (Dao et al.,
// "FlashAttention", arXiv 2205.14135, section B.4).
//
// Bytes: 2 s for each element of y, and 4 a row; the least possible. Eight lanes share a row,
// and rows that lie together are worked on together, so that a warp reads memory without gaps.

namespace anaphase::kernels::attention_ladder {
namespace {

constexpr int threads = 256, lanes_per_row = 8, rows_per_block = threads / lanes_per_row;

template <class T, int Lanes>
__global__ void __launch_bounds__(threads) row_delta(AttentionBackward op) {
  const AttentionShape& s = op.shape;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes_per_row;
  const std::int64_t row =  // of [n, tokens, heads]
      static_cast<std::int64_t>(blockIdx.x) * rows_per_block + thread / lanes_per_row;
  const bool exists = row < std::int64_t{s.n} * s.tokens * s.heads;
  const T* y = static_cast<const T*>(op.y) + row * s.head_dim;
  const T* dy = static_cast<const T*>(op.dy) + row * s.head_dim;
  float sum = 0;
  if (exists)
#pragma unroll 1
    for (int d = lane * Lanes; d < s.head_dim; d += lanes_per_row * Lanes) {
      const Vector<float, Lanes> a = load_float<Lanes>(y + d), b = load_float<Lanes>(dy + d);
#pragma unroll
      for (int k = 0; k < Lanes; ++k) sum += a[k] * b[k];
    }
  sum = warp_sum<lanes_per_row>(sum);
  if (!exists || lane != 0) return;
  const std::int64_t position = row / s.heads, head = row % s.heads;
  const std::int64_t sample = position / s.tokens, token = position % s.tokens;
  static_cast<float*>(op.workspace)[(sample * s.heads + head) * s.tokens + token] = sum;
}

}  // namespace

void find_delta(Gpu gpu, const AttentionBackward& op) {
  const AttentionShape& s = op.shape;
  const auto blocks = static_cast<unsigned>(
      ceil_div(std::int64_t{s.n} * s.tokens * s.heads, std::int64_t{rows_per_block}));
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(s.head_dim, [&]<class Lanes>(Lanes) {
      launch<row_delta<T, Lanes::value>>(gpu, {blocks, threads}, op);
    });
  });
}

}  // namespace anaphase::kernels::attention_ladder
