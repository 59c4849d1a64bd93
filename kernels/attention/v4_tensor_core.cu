// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.cuh"
#include "kernels/common/gpu/matrix.cuh"
#include "kernels/common/gpu/reduce.cuh"

// Fourth rung, for bf16: the products on tensor cores (mma m16n8k16, float32 sums).
//
// A warp owns rows in sixteens, and finds 16 x `columns` scores at a time. What a lane holds of two
// neighbouring 8-column results of mma is, rounded to bf16, what it has to hold of a 16 x 16 left
// operand (fragment layouts: common/gpu/matrix.cuh). So the weights of the second product never
// leave their registers (Dao, "FlashAttention-2", arXiv 2307.08691). Right operands come from
// shared memory by ldmatrix: rows as they lie for scores (other^T), transposed for weighted sums.
//
// The copies run beside the arithmetic as in v3_pipelined.cu. Tiles are bf16 in rows of D + 8: the
// eight rows of a matrix that ldmatrix reads lie in different banks.
//
// Bytes: 2 s N^2 D / rows a head from the second-level cache, 64 operations a byte with the 64 rows
// of a block, 128 where a warp takes 32 rows (long sequences). Operations as v2_tiled.cu, but 16
// times as fast as float32's; then the exponentials count: N^2 a head, at 16 a clock of a
// multiprocessor against 1024 multiply-adds, as long as the products of D = 32. Each ldmatrix of 16
// columns serves two mma with 16 rows of a warp, four with 32.
//
// Shared memory: 28 kB with D = 64 (37 where a warp takes 32 rows), 52 kB with 128; backward
// likewise. Registers: three blocks a multiprocessor, two where a warp takes 32 rows and for the
// gradients of wide keys and values.

namespace anaphase::kernels::attention_ladder {
namespace {

constexpr int warps = 4, threads = 32 * warps;

template <int D>
constexpr int stride = D + 8;  // elements from row to row of a tile

/// A lane's share of the result of a 16 x `Columns` product: N = Columns / 8 fragments.
template <int Columns>
using Result = float[Columns / 8][4];

/// The rows of 16 Tiles own rows as left operands: kept in registers where there is room, else
/// loaded at each use.
template <int D, int Tiles, bool Keep>
class LeftRows {
 public:
  /// `rows` has arrived in shared memory.
  __device__ explicit LeftRows(const bf16* rows) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    rows_ = rows + lane % 16 * stride<D> + lane / 16 * 8;
    if constexpr (Keep)
#pragma unroll
      for (int t = 0; t < Tiles; ++t)
#pragma unroll
        for (int k = 0; k < D / 16; ++k) read(t, k, kept_[t][k]);
  }
  __device__ void get(int tile, int k, std::uint32_t (&a)[4]) const {
    if constexpr (Keep)
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = kept_[tile][k][i];
    else
      read(tile, k, a);
  }

 private:
  __device__ void read(int tile, int k, std::uint32_t (&a)[4]) const {
    load_matrices_4(a, rows_ + tile * 16 * stride<D> + k * 16);
  }
  const bf16* rows_;
  // NOLINTNEXTLINE(bugprone-branch-clone): alike for one tile alone.
  std::uint32_t kept_[Keep ? Tiles : 1][Keep ? D / 16 : 1][4];
};

/// result = own other^T, `other` a tile of 8 N rows.
template <int D, int N, int Tiles, bool Keep>
__device__ void multiply_rows(const LeftRows<D, Tiles, Keep>& own, const bf16* other,
                              float (&result)[Tiles][N][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  other += (lane / 16 * 8 + lane % 8) * stride<D> + lane / 8 % 2 * 8;
#pragma unroll
  for (int t = 0; t < Tiles; ++t)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) result[t][n][i] = 0;
#pragma unroll(Keep ? D / 16 : 2)
  for (int k = 0; k < D / 16; ++k) {
    std::uint32_t a[Tiles][4];
#pragma unroll
    for (int t = 0; t < Tiles; ++t) own.get(t, k, a[t]);
#pragma unroll
    for (int n = 0; n < N / 2; ++n) {
      std::uint32_t b[4];
      load_matrices_4(b, other + n * 16 * stride<D> + k * 16);
#pragma unroll
      for (int t = 0; t < Tiles; ++t) {
        mma_bf16(result[t][2 * n], a[t], {b[0], b[1]});
        mma_bf16(result[t][2 * n + 1], a[t], {b[2], b[3]});
      }
    }
  }
}

/// Scores of columns from `count` on become -inf, so that they weigh nothing.
template <int N>
__device__ void mask_columns(int count, float (&score)[N][4]) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (n * 8 + column + i % 2 >= count) score[n][i] = -INFINITY;
}

/// sum += weights other, `weights` the result of an earlier product.
template <int D, int N, int Tiles>
__device__ void add_weighted(const float (&weights)[Tiles][N][4], const bf16* other,
                             Result<D> (&sum)[Tiles]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  other += lane % 16 * stride<D> + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < N / 2; ++k) {
    std::uint32_t a[Tiles][4];
#pragma unroll
    for (int t = 0; t < Tiles; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* pair = weights[t][2 * k + i / 2] + i % 2 * 2;
        a[t][i] = bf16_pair(pair[0], pair[1]);
      }
#pragma unroll
    for (int n = 0; n < D / 16; ++n) {
      std::uint32_t b[4];
      load_matrices_4<true>(b, other + k * 16 * stride<D> + n * 16);
#pragma unroll
      for (int t = 0; t < Tiles; ++t) {
        mma_bf16(sum[t][2 * n], a[t], {b[0], b[1]});
        mma_bf16(sum[t][2 * n + 1], a[t], {b[2], b[3]});
      }
    }
  }
}

/// Writes a warp's 16 rows of sums, times factor[0] for row lane / 4 and factor[1] for the row 8
/// below, by way of `tile`, 16 rows of shared memory that the warp alone uses: so that memory is
/// written in vectors. `first` is the token of the warp's first row.
template <int D>
__device__ void write_rows(const AttentionShape& s, const Result<D>& sum, const float (&factor)[2],
                           bf16* tile, const Rows<bf16>& rows, int first) {
  constexpr int lanes = lanes_of<bf16>, vectors = D / lanes;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  __syncwarp();
#pragma unroll
  for (int n = 0; n < D / 8; ++n)
#pragma unroll
    for (int i = 0; i < 2; ++i)
      store_float(tile + (lane / 4 + 8 * i) * stride<D> + n * 8 + lane % 4 * 2,
                  Vector<float, 2>{sum[n][2 * i] * factor[i], sum[n][2 * i + 1] * factor[i]});
  __syncwarp();
#pragma unroll
  for (int i = lane; i < 16 * vectors; i += 32) {
    const int row = i / vectors, column = i % vectors * lanes;
    if (first + row < s.tokens && column < s.head_dim)
      store(rows[first + row] + column, load<lanes>(tile + row * stride<D> + column));
  }
}

// ---- Forward ----------------------------------------------------------------------------------

constexpr int forward_columns = 64;

/// Blocks of a multiprocessor to leave registers for.
template <int D, int Tiles>
[[maybe_unused]] constexpr int forward_blocks = Tiles == 2 ? 2
                                                : D <= 32  ? 4
                                                           : 3;

/// The largest scores and sums so far of a lane's two rows of a tile.
struct Softmax {
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};

  /// Turns scores into exp(scale (score - largest)) and multiplies `y` as the new maximum asks.
  template <int N, int M>
  __device__ void take(float c, float (&score)[N][4], float (&y)[M][4]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float highest = largest[r];
#pragma unroll
      for (int n = 0; n < N; ++n)
        highest = fmaxf(highest, fmaxf(score[n][2 * r], score[n][2 * r + 1]));
      highest = warp_max<4>(highest);
      const float shrink = fast_exp2((largest[r] - highest) * c), shift = highest * c;
      largest[r] = highest;
      sum[r] *= shrink;
#pragma unroll
      for (int n = 0; n < M; ++n) {
        y[n][2 * r] *= shrink;
        y[n][2 * r + 1] *= shrink;
      }
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 2 * r; i < 2 * r + 2; ++i) {
          score[n][i] = fast_exp2(score[n][i] * c - shift);
          sum[r] += score[n][i];
        }
    }
  }
};

template <int D, int Tiles>
__global__ void __launch_bounds__(threads, forward_blocks<D, Tiles>)
    tensor_core_forward(AttentionForward op) {
  constexpr int warp_rows = 16 * Tiles, rows = warps * warp_rows, columns = forward_columns;
  const AttentionShape& s = op.shape;
  const OwnRows own(s, rows);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * warp_rows;
  const Rows<const bf16> keys = rows_of<const bf16>(s, op.qkv, own.head, 3, 1);
  const Rows<const bf16> values = rows_of<const bf16>(s, op.qkv, own.head, 3, 2);
  bf16* q_tile = reinterpret_cast<bf16*>(dynamic_shared());
  bf16* k_tile = q_tile + rows * stride<D>;
  bf16* v_tile = k_tile + columns * stride<D>;
  copy_rows<rows, D, stride<D>, threads>(s, rows_of<const bf16>(s, op.qkv, own.head, 3, 0),
                                         own.first, q_tile);
  copy_rows<columns, D, stride<D>, threads>(s, keys, 0, k_tile);
  async_commit();
  async_wait<0>();
  __syncthreads();
  q_tile += warp_row * stride<D>;
  const LeftRows<D, Tiles, (D <= 64)> queries(q_tile);

  const float scale = score_scale(s), c = scale * log2_of_e;
  Softmax softmax[Tiles];
  Result<D> y[Tiles] = {};
  for (int first = 0; first < s.tokens; first += columns) {
    copy_rows<columns, D, stride<D>, threads>(s, values, first, v_tile);
    async_commit();
    Result<columns> p[Tiles];
    multiply_rows(queries, k_tile, p);
    if (first + columns > s.tokens)
#pragma unroll
      for (int t = 0; t < Tiles; ++t) mask_columns(s.tokens - first, p[t]);
    async_wait<0>();
    __syncthreads();  // values are there, keys are done with
    if (first + columns < s.tokens)
      copy_rows<columns, D, stride<D>, threads>(s, keys, first + columns, k_tile);
    async_commit();
#pragma unroll
    for (int t = 0; t < Tiles; ++t) softmax[t].take(c, p[t], y[t]);
    add_weighted<D>(p, v_tile, y);
    async_wait<0>();
    __syncthreads();  // the next keys are there, values are done with
  }
  const Rows<bf16> to = rows_of<bf16>(s, op.y, own.head);
  float* log_sum_exp =
      static_cast<float*>(op.log_sum_exp) + static_cast<std::int64_t>(own.head) * s.tokens;
#pragma unroll
  for (int t = 0; t < Tiles; ++t) {
    const int first = own.first + warp_row + t * 16;
    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = warp_sum<4>(softmax[t].sum[r]);
      const int query = first + lane / 4 + r * 8;
      factor[r] = 1 / sum;
      if (lane % 4 == 0 && query < s.tokens)
        log_sum_exp[query] = softmax[t].largest[r] * scale + logf(sum);
    }
    write_rows<D>(s, y[t], factor, q_tile + t * 16 * stride<D>, to, first);
  }
}

// ---- Backward ---------------------------------------------------------------------------------

constexpr int backward_rows = 16 * warps;
template <int D>
constexpr int backward_columns = D == 16 ? 64 : 32;
template <int D, Owner owner>
[[maybe_unused]] constexpr int backward_blocks = D == 128 || (D == 64 && owner == Owner::keys) ? 2
                                                                                               : 3;

template <int D>
constexpr std::size_t backward_shared_bytes = 2 * (backward_rows + backward_columns<D>)*stride<D> *
                                                  sizeof(bf16) +
                                              2 * backward_columns<D> * sizeof(float);

template <int D, Owner owner>
__global__ void __launch_bounds__(threads, backward_blocks<D, owner>)
    tensor_core_backward(AttentionBackward op) {
  constexpr int columns = backward_columns<D>;
  constexpr bool is_query = owner == Owner::queries;
  const AttentionShape& s = op.shape;
  const OwnRows own(s, backward_rows);
  const BackwardRows<bf16, owner> rows(op, own.head);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp_row = thread / 32 * 16;
  bf16 *own_tile[2], *other_tile[2];
  own_tile[0] = reinterpret_cast<bf16*>(dynamic_shared());
  own_tile[1] = own_tile[0] + backward_rows * stride<D>;
  other_tile[0] = own_tile[1] + backward_rows * stride<D>;
  other_tile[1] = other_tile[0] + columns * stride<D>;
  // log_sum_exp and delta of the columns, where these are queries.
  float* statistics = reinterpret_cast<float*>(other_tile[1] + columns * stride<D>);
  const auto copy_other = [&](int which, int first) {
    if (first < s.tokens)
      copy_rows<columns, D, stride<D>, threads>(s, rows.other[which], first, other_tile[which]);
    if (!is_query && which == 0 && first < s.tokens && thread < 2 * columns) {
      const int query = min(first + thread % columns, s.tokens - 1);
      async_copy_4(statistics + thread, (thread < columns ? rows.log_sum_exp : rows.delta) + query,
                   true);
    }
    async_commit();
  };
  copy_rows<backward_rows, D, stride<D>, threads>(s, rows.own[0], own.first, own_tile[0]);
  copy_rows<backward_rows, D, stride<D>, threads>(s, rows.own[1], own.first, own_tile[1]);
  copy_other(1, 0);
  async_wait<0>();
  __syncthreads();
  copy_other(0, 0);
#pragma unroll
  for (int i = 0; i < 2; ++i) own_tile[i] += warp_row * stride<D>;
  const LeftRows<D, 1, (D <= 64)> own_rows[2] = {LeftRows<D, 1, (D <= 64)>(own_tile[0]),
                                                 LeftRows<D, 1, (D <= 64)>(own_tile[1])};
  // Of the queries of a lane's scores: its two rows, or two columns of each fragment.
  float shift[2], mean[2];
  if (is_query)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int query = min(own.first + warp_row + lane / 4 + r * 8, s.tokens - 1);
      shift[r] = rows.log_sum_exp[query] * log2_of_e;
      mean[r] = rows.delta[query];
    }

  const float scale = score_scale(s), c = scale * log2_of_e;
  Result<D> sum[1] = {}, value_sum[1] = {};  // the latter of dv
  for (int first = 0; first < s.tokens; first += columns) {
    Result<columns> p[1], dp[1];
    multiply_rows(own_rows[1], other_tile[1], dp);
    async_wait<0>();
    __syncthreads();  // other[0] is there
    if (is_query) copy_other(1, first + columns);
    multiply_rows(own_rows[0], other_tile[0], p);
    if (first + columns > s.tokens) mask_columns(s.tokens - first, p[0]);
#pragma unroll
    for (int n = 0; n < columns / 8; ++n) {
      if (!is_query) {
        const float* column = statistics + n * 8 + lane % 4 * 2;
        const Vector<float, 2> kept = load<2>(column), delta = load<2>(column + columns);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          shift[i] = kept[i] * log2_of_e;
          mean[i] = delta[i];
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int query = is_query ? i / 2 : i % 2;
        p[0][n][i] = fast_exp2(p[0][n][i] * c - shift[query]);
        dp[0][n][i] = p[0][n][i] * (dp[0][n][i] - mean[query]);
      }
    }
    if (!is_query) {
      add_weighted<D>(p, other_tile[1], value_sum);
      __syncthreads();  // other[1] is done with
      copy_other(1, first + columns);
    }
    add_weighted<D>(dp, other_tile[0], sum);
    async_wait<0>();
    __syncthreads();  // the next other[1] is there, other[0] is done with
    copy_other(0, first + columns);
  }
  const int mine = own.first + warp_row;
  write_rows<D>(s, sum[0], {scale, scale}, own_tile[0], rows.gradient[0], mine);
  if (!is_query) write_rows<D>(s, value_sum[0], {1, 1}, own_tile[1], rows.gradient[1], mine);
}

template <int D, int Tiles>
void launch_forward(Gpu gpu, const AttentionForward& op) {
  constexpr int rows = 16 * Tiles * warps;
  constexpr std::size_t bytes = (rows + 2 * forward_columns) * stride<D> * sizeof(bf16);
  launch<tensor_core_forward<D, Tiles>>(gpu, {head_blocks(op.shape, rows), threads, bytes}, op);
}

}  // namespace

void v4_tensor_core(Gpu gpu, const AttentionForward& op) {
  with_width(op.shape.head_dim, [&]<class Width>(Width) {
    // Few tokens: more blocks, of fewer rows. 32 rows of 128 channels do not fit the registers.
    if constexpr (Width::value <= 64)
      if (op.shape.tokens >= 1024) return launch_forward<Width::value, 2>(gpu, op);
    launch_forward<Width::value, 1>(gpu, op);
  });
}

void v4_tensor_core(Gpu gpu, const AttentionBackward& op) {
  find_delta(gpu, op);
  with_width(op.shape.head_dim, [&]<class Width>(Width) {
    constexpr int width = Width::value;
    const Grid grid{head_blocks(op.shape, backward_rows), threads, backward_shared_bytes<width>};
    launch<tensor_core_backward<width, Owner::keys>>(gpu, grid, op);
    launch<tensor_core_backward<width, Owner::queries>>(gpu, grid, op);
  });
}

}  // namespace anaphase::kernels::attention_ladder
