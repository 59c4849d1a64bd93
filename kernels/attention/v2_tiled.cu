// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.cuh"
#include "kernels/common/gpu/reduce.cuh"

// Second rung: tiles in shared memory. A block owns 32 rows; tiles of rows of the other kind pass
// by, each read once for all 32. The softmax goes on line (Milakov & Gimelshein, arXiv 1805.02867;
// Dao et al., arXiv 2205.14135): with m the largest score so far, z = sum exp(s - m) and
// y = sum exp(s - m) v are kept, and both are multiplied by exp(m - m') when a tile raises m to m'.
// So one pass over keys and values does, and no score leaves the block.
//
// Bytes: keys and values are read N / 32 times instead of N: 2 s N^2 D / 32 a head. Operations:
// 4 N^2 D forward, 14 backward (see v1_plain.cu). Four neighbouring lanes share a row: each finds a
// quarter of the row's scores in a tile, and a quarter of its channels. Shared memory is what
// bounds it: 9 loads of 16 bytes for 32 multiply-adds.
//
// Tiles hold floats, in rows of D + 4: the rows that a quarter of a warp reads together lie in
// different banks. With 32 columns and D = 128, 55 kB forward; backward, where four tiles are held,
// 16 columns: 56 kB, which fits compute capability 7.5, whose path for bf16 this is. Also for
// head_dims that are not a multiple of 16 bytes.

namespace anaphase::kernels::attention_ladder {
namespace {

constexpr int threads = 128, parts = 4, rows_per_block = threads / parts;

/// Floats from row to row of a tile of D, or of weights of `Columns`.
constexpr int padded(int columns) {
  return columns + 4;
}

/// Columns of scores that backward works on at a time.
template <int D>
constexpr int backward_columns = D == 128 ? 16 : 32;

/// Blocks of a multiprocessor to leave registers for: about as many as its shared memory holds.
[[maybe_unused]] constexpr int forward_blocks = 3;
template <int D>
[[maybe_unused]] constexpr int backward_blocks = D == 128 ? 2 : 3;

/// Reads `Count` rows from `first` on; zeros behind the last token and behind head_dim.
template <int Count, int D, class T>
__device__ void read_tile(const AttentionShape& s, const Rows<const T>& rows, int first,
                          float* tile) {
  constexpr int vectors = D / 4;
  const bool aligned = s.head_dim % 4 == 0;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < Count * vectors; i += threads) {
    const int row = i / vectors, column = i % vectors * 4, token = first + row;
    Vector<float, 4> value = {};
    if (token < s.tokens && column < s.head_dim) {
      const T* from = rows[token] + column;
      if (aligned)
        value = load_float<4>(from);
      else
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (column + k < s.head_dim) value[k] = static_cast<float>(from[k]);
    }
    store(tile + row * padded(D) + column, value);
  }
}

/// score[i] = row . others[parts i], for a thread's rows of a tile.
template <int D, int Count>
__device__ void multiply_rows(const float* row, const float* others, float (&score)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; ++i) score[i] = 0;
#pragma unroll 4
  for (int d = 0; d < D; d += 4) {
    const Vector<float, 4> a = load<4>(row + d);
#pragma unroll
    for (int i = 0; i < Count; ++i) {
      const Vector<float, 4> b = load<4>(others + parts * i * padded(D) + d);
#pragma unroll
      for (int k = 0; k < 4; ++k) score[i] += a[k] * b[k];
    }
  }
}

/// A thread's quarter of the channels of a row: vectors part, part + 4, ...
template <int D>
struct Channels {
  Vector<float, 4> value[D / 16] = {};

  __device__ void scale(float factor) {
#pragma unroll
    for (auto& vector : value)
#pragma unroll
      for (int k = 0; k < 4; ++k) vector[k] *= factor;
  }

  /// += the sum over a tile's rows of weights[row] * others[row].
  template <int Columns>
  __device__ void add_weighted(const float* weights, const float* others, int part) {
#pragma unroll 4
    for (int j = 0; j < Columns; j += 4) {
      const Vector<float, 4> w = load<4>(weights + j);
#pragma unroll
      for (int row = 0; row < 4; ++row)
#pragma unroll
        for (int i = 0; i < D / 16; ++i) {
          const Vector<float, 4> v =
              load<4>(others + (j + row) * padded(D) + 4 * (part + parts * i));
#pragma unroll
          for (int k = 0; k < 4; ++k) value[i][k] += w[row] * v[k];
        }
    }
  }

  template <class T>
  __device__ void write(T* to, int head_dim, int part) const {
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const int column = 4 * (part + parts * i);
      if (head_dim % 4 == 0) {
        if (column < head_dim) store_float(to + column, value[i]);
      } else {
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (column + k < head_dim) to[column + k] = T(value[i][k]);
      }
    }
  }
};

template <class T, int D>
__global__ void __launch_bounds__(threads, forward_blocks) tiled_forward(AttentionForward op) {
  constexpr int columns = 32, scores = columns / parts;
  const AttentionShape& s = op.shape;
  const OwnRows own(s, rows_per_block);
  const int row = static_cast<int>(threadIdx.x) / parts;
  const int part = static_cast<int>(threadIdx.x) % parts;
  const Rows<const T> keys = rows_of<const T>(s, op.qkv, own.head, 3, 1);
  const Rows<const T> values = rows_of<const T>(s, op.qkv, own.head, 3, 2);
  float* q_tile = reinterpret_cast<float*>(dynamic_shared());
  float* k_tile = q_tile + rows_per_block * padded(D);
  float* v_tile = k_tile + columns * padded(D);
  float* weights = v_tile + columns * padded(D) + row * padded(columns);
  read_tile<rows_per_block, D>(s, rows_of<const T>(s, op.qkv, own.head, 3, 0), own.first, q_tile);

  const float scale = score_scale(s), c = scale * log2_of_e;
  Channels<D> y;
  float largest = -INFINITY, sum = 0;
  for (int first = 0; first < s.tokens; first += columns) {
    __syncthreads();
    read_tile<columns, D>(s, keys, first, k_tile);
    read_tile<columns, D>(s, values, first, v_tile);
    __syncthreads();
    float score[scores];
    multiply_rows<D>(q_tile + row * padded(D), k_tile + part * padded(D), score);
    float highest = largest;
#pragma unroll
    for (int i = 0; i < scores; ++i) {
      if (first + part + parts * i >= s.tokens) score[i] = -INFINITY;
      highest = fmaxf(highest, score[i]);
    }
    highest = warp_max<parts>(highest);
    const float shrink = fast_exp2((largest - highest) * c);
    largest = highest;
    sum *= shrink;
#pragma unroll
    for (int i = 0; i < scores; ++i) {
      const float p = fast_exp2((score[i] - largest) * c);
      sum += p;
      weights[part + parts * i] = p;
    }
    __syncwarp();
    y.scale(shrink);
    y.template add_weighted<columns>(weights, v_tile, part);
  }
  sum = warp_sum<parts>(sum);
  const int query = own.first + row;
  if (query >= s.tokens) return;
  y.scale(1 / sum);
  y.write(rows_of<T>(s, op.y, own.head)[query], s.head_dim, part);
  if (part == 0)
    static_cast<float*>(op.log_sum_exp)[std::int64_t{own.head} * s.tokens + query] =
        largest * scale + logf(sum);
}

template <class T, int D, Owner owner>
__global__ void __launch_bounds__(threads, backward_blocks<D>)
    tiled_backward(AttentionBackward op) {
  constexpr int columns = backward_columns<D>, scores = columns / parts;
  constexpr int outputs = owner == Owner::keys ? 2 : 1;
  const AttentionShape& s = op.shape;
  const OwnRows own(s, rows_per_block);
  const BackwardRows<T, owner> rows(op, own.head);
  const int row = static_cast<int>(threadIdx.x) / parts;
  const int part = static_cast<int>(threadIdx.x) % parts;
  float *own_tile[2], *other_tile[2], *weights[2];  // weights: dscores, probabilities
  float* next = reinterpret_cast<float*>(dynamic_shared());
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    own_tile[i] = next;
    other_tile[i] = own_tile[i] + rows_per_block * padded(D);
    weights[i] = other_tile[i] + columns * padded(D) + row * padded(columns);
    next = other_tile[i] + columns * padded(D) + rows_per_block * padded(columns);
    read_tile<rows_per_block, D>(s, rows.own[i], own.first, own_tile[i]);
  }

  const float scale = score_scale(s), c = scale * log2_of_e;
  Channels<D> sum[outputs];
  for (int first = 0; first < s.tokens; first += columns) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; ++i) read_tile<columns, D>(s, rows.other[i], first, other_tile[i]);
    __syncthreads();
    float score[scores], dp[scores];
    multiply_rows<D>(own_tile[0] + row * padded(D), other_tile[0] + part * padded(D), score);
    multiply_rows<D>(own_tile[1] + row * padded(D), other_tile[1] + part * padded(D), dp);
#pragma unroll
    for (int i = 0; i < scores; ++i) {
      const int other = first + part + parts * i, mine = own.first + row;
      float p = 0, dscore = 0;
      if (max(other, mine) < s.tokens) {
        const int query = owner == Owner::queries ? mine : other;
        p = fast_exp2(score[i] * c - rows.log_sum_exp[query] * log2_of_e);
        dscore = p * (dp[i] - rows.delta[query]);
      }
      weights[0][part + parts * i] = dscore;
      if (outputs == 2) weights[1][part + parts * i] = p;
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < outputs; ++i)
      sum[i].template add_weighted<columns>(weights[i], other_tile[i], part);
  }
  if (own.first + row >= s.tokens) return;
  sum[0].scale(scale);
#pragma unroll
  for (int i = 0; i < outputs; ++i)
    sum[i].write(rows.gradient[i][own.first + row], s.head_dim, part);
}

}  // namespace

void v2_tiled(Gpu gpu, const AttentionForward& op) {
  with_width(op.shape.head_dim, [&]<class Width>(Width) {
    constexpr int columns = 32;
    constexpr std::size_t floats =
        (rows_per_block + 2 * columns) * padded(Width::value) + rows_per_block * padded(columns);
    with_gpu_type(op.type, [&]<class T>(T) {
      launch<tiled_forward<T, Width::value>>(
          gpu, {head_blocks(op.shape, rows_per_block), threads, floats * sizeof(float)}, op);
    });
  });
}

void v2_tiled(Gpu gpu, const AttentionBackward& op) {
  find_delta(gpu, op);
  with_width(op.shape.head_dim, [&]<class Width>(Width) {
    constexpr int columns = backward_columns<Width::value>;
    constexpr std::size_t floats =
        2 * ((rows_per_block + columns) * padded(Width::value) + rows_per_block * padded(columns));
    const Grid grid{head_blocks(op.shape, rows_per_block), threads, floats * sizeof(float)};
    with_gpu_type(op.type, [&]<class T>(T) {
      launch<tiled_backward<T, Width::value, Owner::keys>>(gpu, grid, op);
      launch<tiled_backward<T, Width::value, Owner::queries>>(gpu, grid, op);
    });
  });
}

}  // namespace anaphase::kernels::attention_ladder
