// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.cuh"
#include "kernels/common/gpu/reduce.cuh"

// Third rung, for float32: tiles in registers, and copies beside arithmetic.
//
// Eight neighbouring lanes share R rows (rows 4 apart), so that a warp owns 4 R of them. A lane
// finds R x 4 scores of a tile of 32 columns at a time: for 4 channels, R + 4 loads of 16 bytes
// from shared memory serve 16 R multiply-adds (12 for 128 with R = 8, where v2_tiled.cu has 36). In
// the weighted sums it has R rows and D / 8 channels: R + D / 8 loads for R D / 2. Only the weights
// go through shared memory from lane to lane, within a warp.
//
// Two buffers take turns: while the scores are found from one, cp.async fills the other with the
// rows that are multiplied next, and the other way round. Forward, keys and values; backward, where
// both kinds serve two products, first dp = own[1] other[1]^T, then the scores and the rest.
//
// Bytes: 2 s N^2 D / 64 a head from the second-level cache: 32 operations a byte.
// Operations: as v2_tiled.cu. Forward R = 8: 64 threads, 64 rows, 45 kB with D = 64. Backward R = 4
// (twice the accumulators): 128 threads, 64 rows, 62 kB with D = 64; with D = 128 64 threads, 32
// rows, 73 kB.

namespace anaphase::kernels::attention_ladder {
namespace {

constexpr int columns = 32;  // of scores at a time
constexpr int lanes = 8;     // that share rows
constexpr int row_step = 4;  // between the rows of a lane
constexpr int scores = columns / lanes;
constexpr int weight_stride = columns + 8;  // the four rows written together: different banks

template <int D>
constexpr int stride = D + 4;  // floats from row to row of a tile: likewise

/// Rows a lane, warps a block.
template <int R_, int Warps_>
struct Shape {
  static constexpr int R = R_, threads = 32 * Warps_, rows = row_step * R * Warps_;

  /// Bytes of `own` tiles of the block's rows, `other` tiles of columns, and the weights.
  template <int D>
  static constexpr std::size_t shared_bytes(int own, int other) {
    return sizeof(float) * ((own * rows + other * columns) * stride<D> + rows * weight_stride);
  }
};
using ForwardShape = Shape<8, 2>;
template <int D>
using BackwardShape = Shape<4, D == 128 ? 2 : 4>;

/// Where a lane works: its first row in the block's tiles, and its first column.
template <int R>
struct Place {
  int row, column;

  __device__ Place() {
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
    row = thread / 32 * row_step * R + lane / lanes;
    column = lane % lanes;
  }
};

/// score[i][j] = row i of `own` . row j of `other`, for a lane's rows and columns.
template <int D, int R>
__device__ void multiply_rows(const float* own, const float* other, float (&score)[R][scores]) {
#pragma unroll
  for (int i = 0; i < R; ++i)
#pragma unroll
    for (int j = 0; j < scores; ++j) score[i][j] = 0;
#pragma unroll 2
  for (int d = 0; d < D; d += 4) {
    Vector<float, 4> b[scores];
#pragma unroll
    for (int j = 0; j < scores; ++j) b[j] = load<4>(other + lanes * j * stride<D> + d);
#pragma unroll
    for (int i = 0; i < R; ++i) {
      const Vector<float, 4> a = load<4>(own + row_step * i * stride<D> + d);
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int j = 0; j < scores; ++j) score[i][j] += a[k] * b[j][k];
    }
  }
}

/// A lane's share of the channels of its rows: vectors column, column + 8, ...
template <int D, int R>
struct Channels {
  static constexpr int width = D / lanes < 4 ? D / lanes : 4, count = D / lanes / width;
  Vector<float, width> value[R][count] = {};

  __device__ void scale(int i, float factor) {
#pragma unroll
    for (int v = 0; v < count; ++v)
#pragma unroll
      for (int k = 0; k < width; ++k) value[i][v][k] *= factor;
  }

  /// += the sum over a tile's rows of weights[i][row] * other[row].
  __device__ void add_weighted(const float* weights, const float* other, int column) {
#pragma unroll 1
    for (int j = 0; j < columns; j += 4) {
      Vector<float, 4> w[R];
#pragma unroll
      for (int i = 0; i < R; ++i) w[i] = load<4>(weights + row_step * i * weight_stride + j);
#pragma unroll
      for (int row = 0; row < 4; ++row)
#pragma unroll
        for (int v = 0; v < count; ++v) {
          const auto x = load<width>(other + (j + row) * stride<D> + width * (column + lanes * v));
#pragma unroll
          for (int i = 0; i < R; ++i)
#pragma unroll
            for (int k = 0; k < width; ++k) value[i][v][k] += w[i][row] * x[k];
        }
    }
  }

  __device__ void write(int i, float* to, int head_dim, int column) const {
#pragma unroll
    for (int v = 0; v < count; ++v) {
      const int first = width * (column + lanes * v);
      if (first < head_dim) store(to + first, value[i][v]);
    }
  }
};

// Without a number of blocks, ptxas spills for one more of them on 8.6 and 8.9.
template <int D>
__global__ void __launch_bounds__(ForwardShape::threads, D == 32 ? 6 : 0)
    pipelined_forward(AttentionForward op) {
  constexpr int R = ForwardShape::R, rows = ForwardShape::rows, threads = ForwardShape::threads;
  const AttentionShape& s = op.shape;
  const OwnRows own(s, rows);
  const Place<R> at;
  const Rows<const float> keys = rows_of<const float>(s, op.qkv, own.head, 3, 1);
  const Rows<const float> values = rows_of<const float>(s, op.qkv, own.head, 3, 2);
  float* q_tile = reinterpret_cast<float*>(dynamic_shared());
  float* k_tile = q_tile + rows * stride<D>;
  float* v_tile = k_tile + columns * stride<D>;
  float* weights = v_tile + columns * stride<D> + at.row * weight_stride;
  copy_rows<rows, D, stride<D>, threads>(s, rows_of<const float>(s, op.qkv, own.head, 3, 0),
                                         own.first, q_tile);
  copy_rows<columns, D, stride<D>, threads>(s, keys, 0, k_tile);
  async_commit();
  async_wait<0>();
  __syncthreads();

  const float scale = score_scale(s), c = scale * log2_of_e;
  Channels<D, R> y;
  float largest[R], sum[R];
#pragma unroll
  for (int i = 0; i < R; ++i) {
    largest[i] = -INFINITY;
    sum[i] = 0;
  }
  for (int first = 0; first < s.tokens; first += columns) {
    copy_rows<columns, D, stride<D>, threads>(s, values, first, v_tile);
    async_commit();
    float score[R][scores];
    multiply_rows<D>(q_tile + at.row * stride<D>, k_tile + at.column * stride<D>, score);
#pragma unroll
    for (int i = 0; i < R; ++i) {
      float highest = largest[i];
#pragma unroll
      for (int j = 0; j < scores; ++j) {
        if (first + at.column + lanes * j >= s.tokens) score[i][j] = -INFINITY;
        highest = fmaxf(highest, score[i][j]);
      }
      highest = warp_max<lanes>(highest);
      const float shrink = fast_exp2((largest[i] - highest) * c);
      largest[i] = highest;
      sum[i] *= shrink;
      y.scale(i, shrink);
#pragma unroll
      for (int j = 0; j < scores; ++j) {
        const float p = fast_exp2((score[i][j] - highest) * c);
        sum[i] += p;
        weights[row_step * i * weight_stride + at.column + lanes * j] = p;
      }
    }
    async_wait<0>();
    __syncthreads();  // values and weights are there, keys are done with
    if (first + columns < s.tokens)
      copy_rows<columns, D, stride<D>, threads>(s, keys, first + columns, k_tile);
    async_commit();
    y.add_weighted(weights, v_tile, at.column);
    async_wait<0>();
    __syncthreads();  // the next keys are there, values and weights are done with
  }
  const Rows<float> to = rows_of<float>(s, op.y, own.head);
  float* log_sum_exp =
      static_cast<float*>(op.log_sum_exp) + static_cast<std::int64_t>(own.head) * s.tokens;
#pragma unroll
  for (int i = 0; i < R; ++i) {
    const float total = warp_sum<lanes>(sum[i]);
    const int query = own.first + at.row + row_step * i;
    if (query >= s.tokens) continue;
    y.scale(i, 1 / total);
    y.write(i, to[query], s.head_dim, at.column);
    if (at.column == 0) log_sum_exp[query] = largest[i] * scale + logf(total);
  }
}

template <int D, Owner owner>
__global__ void __launch_bounds__(BackwardShape<D>::threads)
    pipelined_backward(AttentionBackward op) {
  using Block = BackwardShape<D>;
  constexpr int R = Block::R, threads = Block::threads;
  constexpr bool is_query = owner == Owner::queries;
  const AttentionShape& s = op.shape;
  const OwnRows own(s, Block::rows);
  const BackwardRows<float, owner> rows(op, own.head);
  const Place<R> at;
  float *own_tile[2], *other_tile[2];
  own_tile[0] = reinterpret_cast<float*>(dynamic_shared());
  own_tile[1] = own_tile[0] + Block::rows * stride<D>;
  other_tile[0] = own_tile[1] + Block::rows * stride<D>;
  other_tile[1] = other_tile[0] + columns * stride<D>;
  float* weights = other_tile[1] + columns * stride<D> + at.row * weight_stride;
  const auto copy_other = [&](int which, int first) {
    if (first < s.tokens)
      copy_rows<columns, D, stride<D>, threads>(s, rows.other[which], first, other_tile[which]);
    async_commit();
  };
  copy_rows<Block::rows, D, stride<D>, threads>(s, rows.own[0], own.first, own_tile[0]);
  copy_rows<Block::rows, D, stride<D>, threads>(s, rows.own[1], own.first, own_tile[1]);
  copy_other(1, 0);
  async_wait<0>();
  __syncthreads();
  copy_other(0, 0);

  // Of the query of a score: of a lane's rows, or of its columns.
  constexpr int queries = is_query ? R : scores;
  float exponent[queries], delta[queries];
  const auto read_statistics = [&](int first, int step) {
#pragma unroll
    for (int i = 0; i < queries; ++i) {
      const int query = first + step * i;
      exponent[i] = query < s.tokens ? rows.log_sum_exp[query] * log2_of_e : 0;
      delta[i] = query < s.tokens ? rows.delta[query] : 0;
    }
  };
  if (is_query) read_statistics(own.first + at.row, row_step);

  const float scale = score_scale(s), c = scale * log2_of_e;
  Channels<D, R> sum, value_sum;  // the latter of dv
  const auto write_weights = [&](const float(&weight)[R][scores]) {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
      for (int j = 0; j < scores; ++j)
        weights[row_step * i * weight_stride + at.column + lanes * j] = weight[i][j];
    __syncwarp();
  };
  for (int first = 0; first < s.tokens; first += columns) {
    if (!is_query) read_statistics(first + at.column, lanes);
    float p[R][scores], dp[R][scores];
    multiply_rows<D>(own_tile[1] + at.row * stride<D>, other_tile[1] + at.column * stride<D>, dp);
    async_wait<0>();
    __syncthreads();  // other[0] is there
    if (is_query) copy_other(1, first + columns);
    multiply_rows<D>(own_tile[0] + at.row * stride<D>, other_tile[0] + at.column * stride<D>, p);
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
      for (int j = 0; j < scores; ++j) {
        const int query = is_query ? i : j;
        p[i][j] = fast_exp2(p[i][j] * c - exponent[query]);
        // Keys behind the last are zeros, but the exponential of their scores may be infinite.
        if (is_query && first + at.column + lanes * j >= s.tokens) p[i][j] = 0;
        dp[i][j] = p[i][j] * (dp[i][j] - delta[query]);
      }
    if (!is_query) {
      write_weights(p);
      value_sum.add_weighted(weights, other_tile[1], at.column);
      __syncthreads();  // other[1] is done with
      copy_other(1, first + columns);
    }
    write_weights(dp);
    sum.add_weighted(weights, other_tile[0], at.column);
    async_wait<0>();
    __syncthreads();  // the next other[1] is there, other[0] is done with
    copy_other(0, first + columns);
  }
#pragma unroll
  for (int i = 0; i < R; ++i) {
    const int mine = own.first + at.row + row_step * i;
    if (mine >= s.tokens) break;
    sum.scale(i, scale);
    sum.write(i, rows.gradient[0][mine], s.head_dim, at.column);
    if (!is_query) value_sum.write(i, rows.gradient[1][mine], s.head_dim, at.column);
  }
}

}  // namespace

void v3_pipelined(Gpu gpu, const AttentionForward& op) {
  using Block = ForwardShape;
  with_width(op.shape.head_dim, [&]<class Width>(Width) {
    constexpr int width = Width::value;
    launch<pipelined_forward<width>>(
        gpu, {head_blocks(op.shape, Block::rows), Block::threads, Block::shared_bytes<width>(1, 2)},
        op);
  });
}

void v3_pipelined(Gpu gpu, const AttentionBackward& op) {
  find_delta(gpu, op);
  with_width(op.shape.head_dim, [&]<class Width>(Width) {
    constexpr int width = Width::value;
    using Block = BackwardShape<width>;
    const Grid grid{head_blocks(op.shape, Block::rows), Block::threads,
                    Block::template shared_bytes<width>(2, 2)};
    launch<pipelined_backward<width, Owner::keys>>(gpu, grid, op);
    launch<pipelined_backward<width, Owner::queries>>(gpu, grid, op);
  });
}

}  // namespace anaphase::kernels::attention_ladder
