// SPDX-License-Identifier: Apache-2.0
#pragma once

// The tiles that ConvWeightGradient is made of. A block adds up a^T b, with a [depth, M] the values
// of dy and b [depth, N] the input values that they meet, `depth` pixels at a time. Both lie in
// shared memory as they lie in global memory, a pixel a row, which is what an outer product and
// ldmatrix.trans want: nothing is transposed.

#include <algorithm>

#include "kernels/common/gpu/async_copy.cuh"
#include "kernels/common/gpu/divide.cuh"
#include "kernels/common/gpu/matrix.cuh"
#include "kernels/common/gpu/shared.cuh"
#include "kernels/common/gpu/vector.cuh"
#include "kernels/conv/conv.hpp"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// On the CUDA cores: a thread has Rows x Columns sums, in quads of 4 x 4 that lie M / (Rows / 4)
/// and N / (Columns / 4) apart, so that neighbours read neighbouring 16 bytes.
template <int M, int N, int Rows, int Columns>
class CoreTile {
 public:
  using Element = float;
  static constexpr int m = M, n = N, depth = 16, stages = 2;
  static constexpr int threads = (M / Rows) * (N / Columns);
  static constexpr int pitch_a = M, pitch_b = N;
  static constexpr int run = 4;  // sums of a thread that lie together
  /// Steps (of depth pixels) in the time that it takes to write the sums and to read them again:
  /// 10 us for the 64 Ki threads of a GPU with 64 sums each, about 4 times its 2.3 us a step.
  static constexpr int steps_per_parts = 4;

  __device__ void add_product(const float* a, const float* b) {
    a += row(0);
    b += column(0);
#pragma unroll
    for (int k = 0; k < depth; ++k) {
      Vector<float, 4> left[row_quads], right[column_quads];
#pragma unroll
      for (int q = 0; q < row_quads; ++q) left[q] = load<4>(a + k * pitch_a + q * (M / row_quads));
#pragma unroll
      for (int q = 0; q < column_quads; ++q)
        right[q] = load<4>(b + k * pitch_b + q * (N / column_quads));
#pragma unroll
      for (int i = 0; i < Rows; ++i)
#pragma unroll
        for (int j = 0; j < Columns; ++j)
          sums_[i][j / 4][j % 4] += left[i / 4][i % 4] * right[j / 4][j % 4];
    }
  }

  /// visit(row, column, sums of `run` neighbouring columns)
  template <class Visit>
  __device__ void for_each_run(Visit&& visit) const {
#pragma unroll
    for (int i = 0; i < Rows; ++i)
#pragma unroll
      for (int q = 0; q < column_quads; ++q)
        visit(row(i), column(0) + q * (N / column_quads), sums_[i][q]);
  }

 private:
  static constexpr int row_quads = Rows / 4, column_quads = Columns / 4;
  static constexpr int width = N / Columns;  // threads side by side

  static __device__ int row(int i) {
    return i / 4 * (M / row_quads) + static_cast<int>(threadIdx.x) / width * 4 + i % 4;
  }
  static __device__ int column(int i) {
    return static_cast<int>(threadIdx.x) % width * 4 + i;
  }

  Vector<float, 4> sums_[Rows][column_quads] = {};
};

/// On the tensor cores, in bf16 or (T float) in tf32: M_warps x N_warps warps, each with a part of
/// the sums as fragments of 16 x 8. Rows are padded by 8 elements, so that the 8 rows of a matrix
/// that ldmatrix loads, or the 4 x 8 floats of a tf32 fragment, lie in different banks.
template <class T, int M, int N, int M_warps, int N_warps>
class TensorTile {
 public:
  using Element = T;
  static constexpr int m = M, n = N, depth = static_cast<int>(64 / sizeof(T)), stages = 3;
  static constexpr int threads = 32 * M_warps * N_warps;
  static constexpr int pitch_a = M + 8, pitch_b = N + 8;
  static constexpr int run = 2;
  static constexpr int steps_per_parts = 16;  // steps are faster

  __device__ void add_product(const T* a, const T* b) {
    a += warp_row();
    b += warp_column();
#pragma unroll
    for (int k = 0; k < depth; k += step, a += step * pitch_a, b += step * pitch_b) {
      std::uint32_t left[rows][4];
#pragma unroll
      for (int i = 0; i < rows; ++i) load_left(left[i], a + 16 * i);
#pragma unroll
      for (int j = 0; j < columns; j += 2) {
        std::uint32_t right[2][2];
        load_right(right, b + 8 * j);
#pragma unroll
        for (int i = 0; i < rows; ++i)
#pragma unroll
          for (int h = 0; h < 2; ++h) multiply(sums_[i][j + h], left[i], right[h]);
      }
    }
  }

  template <class Visit>
  __device__ void for_each_run(Visit&& visit) const {
    const int row = warp_row() + lane() / 4, column = warp_column() + lane() % 4 * 2;
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int h = 0; h < 2; ++h)
          visit(row + 16 * i + 8 * h, column + 8 * j,
                Vector<float, 2>{sums_[i][j][2 * h], sums_[i][j][2 * h + 1]});
  }

 private:
  static constexpr bool is_tf32 = sizeof(T) == 4;
  static constexpr int step = is_tf32 ? 8 : 16;                             // pixels an instruction
  static constexpr int rows = M / M_warps / 16, columns = N / N_warps / 8;  // fragments of a warp

  static __device__ int lane() {
    return static_cast<int>(threadIdx.x) % 32;
  }
  static __device__ int warp_row() {
    return static_cast<int>(threadIdx.x) / 32 / N_warps * (16 * rows);
  }
  static __device__ int warp_column() {
    return static_cast<int>(threadIdx.x) / 32 % N_warps * (8 * columns);
  }

  /// 16 columns of a, transposed.
  static __device__ void load_left(std::uint32_t (&left)[4], const T* a) {
    if constexpr (is_tf32) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        left[i] = to_tf32(a[(lane() % 4 + i / 2 * 4) * pitch_a + lane() / 4 + i % 2 * 8]);
    } else {
      load_matrices_4<true>(left,
                            a + (lane() % 8 + lane() / 16 * 8) * pitch_a + lane() / 8 % 2 * 8);
    }
  }
  /// Twice 8 columns of b.
  static __device__ void load_right(std::uint32_t (&right)[2][2], const T* b) {
    if constexpr (is_tf32) {
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          right[h][i] = to_tf32(b[(lane() % 4 + i * 4) * pitch_b + 8 * h + lane() / 4]);
    } else {
      std::uint32_t both[4];
      load_matrices_4<true>(both, b + lane() % 16 * pitch_b + lane() / 16 * 8);
#pragma unroll
      for (int i = 0; i < 4; ++i) right[i / 2][i % 2] = both[i];
    }
  }
  static __device__ void multiply(float (&sums)[4], const std::uint32_t (&left)[4],
                                  const std::uint32_t (&right)[2]) {
    if constexpr (is_tf32)
      mma_tf32(sums, left, right);
    else
      mma_bf16(sums, left, right);
  }

  float sums_[rows][columns][4] = {};
};

/// The matrix [pixels of y, taps * c_in] of the input values that meet each pixel of y; of zeros
/// where a tap lies in the padding.
class Patches {
 public:
  explicit Patches(const ConvShape& s)
      : s_(s), out_w_(s.out_w()), out_h_(s.out_h()), out_d_(s.out_d()) {}

  /// A pixel of y: the input pixel under a tap without offset, and its number.
  struct Row {
    int d, h, w, pixel;
  };
  /// A tap's offset, also as a number of pixels, and the channel; -1 beyond the last column.
  struct Column {
    int d, h, w, pixel, channel;
  };

  __device__ Row row(int pixel) const {
    const int w = out_w_.split_off(pixel) * s_.stride_w;
    const int h = out_h_.split_off(pixel) * s_.stride_h;
    const int d = out_d_.split_off(pixel) * s_.stride_d;
    return {d, h, w, ((pixel * s_.d + d) * s_.h + h) * s_.w + w};
  }
  __device__ Column column(int number) const {
    int tap = number / s_.c_in;
    const int channel = number % s_.c_in;
    const int w = tap % s_.kernel_w - s_.pad_w;
    tap /= s_.kernel_w;
    const int h = tap % s_.kernel_h - s_.pad_h, d = tap / s_.kernel_h - s_.pad_d;
    const bool exists = tap < s_.kernel_d * s_.kernel_h;
    return {d, h, w, (d * s_.h + h) * s_.w + w, exists ? channel : -1};
  }
  __device__ bool holds(const Row& row, const Column& column) const {
    const auto inside = [](int i, int extent) {
      return static_cast<unsigned>(i) < static_cast<unsigned>(extent);
    };
    return inside(row.d + column.d, s_.d) && inside(row.h + column.h, s_.h) &&
           inside(row.w + column.w, s_.w) && column.channel >= 0;
  }
  __device__ std::int64_t index(const Row& row, const Column& column) const {
    return static_cast<std::int64_t>(row.pixel + column.pixel) * s_.c_in + column.channel;
  }

 private:
  ConvShape s_;
  Divisor out_w_, out_h_, out_d_;
};

/// Lanes elements to shared memory, or zeros: beside the arithmetic where the copy needs no
/// conversion and is of 4 or 16 bytes, at once otherwise. `from` may be read in any case; Kept as
/// in `async_copy_16`.
template <int Lanes, bool Kept, class Element, class T>
__device__ void stage(Element* to, const T* from, bool valid) {
  if constexpr (sizeof(Element) == sizeof(T) && Lanes * sizeof(T) == 16) {
    async_copy_16<Kept>(to, from, valid);
  } else if constexpr (sizeof(Element) == sizeof(T) && Lanes * sizeof(T) == 4) {
    async_copy_4(to, from, valid);
  } else {
    constexpr int width = std::min(Lanes, 4);
    const Vector<T, Lanes> raw = load<Lanes>(from);  // without a branch: all rows' loads at once
#pragma unroll
    for (int i = 0; i < Lanes; i += width) {
      Vector<Element, width> part;
#pragma unroll
      for (int k = 0; k < width; ++k) part[k] = valid ? Element(raw[i + k]) : Element{};
      store(to + i, part);
    }
  }
}

/// The part that a thread of a tile has in copying rows of Width elements, Lanes at a time: always
/// the same columns, so that what depends on the column is computed once.
template <class Tile, int Width, int Lanes>
struct Share {
  static constexpr int per_row = Width / Lanes, row_step = Tile::threads / per_row;
  static_assert(Tile::threads % per_row == 0);

  int column = static_cast<int>(threadIdx.x) % per_row * Lanes;

  /// visit(row) for the thread's rows of a stage
  template <class Visit>
  __device__ void for_each_row(Visit&& visit) const {
    const int first = static_cast<int>(threadIdx.x) / per_row;
#pragma unroll 8
    for (int i = 0; i < ceil_div(Tile::depth, row_step); ++i)
      if (Tile::depth % row_step == 0 || first + i * row_step < Tile::depth)
        visit(first + i * row_step);
  }
};

template <class T>
struct WeightGradientArguments {
  Patches patches;
  int pixels, c_out, columns;  // columns: taps * c_in
  const T *x, *dy;
  float *dweight, *dbias;    // dbias: null where not wanted
  std::int64_t part_stride;  // from the sums over one part of the pixels to those of the next
};

/// Block (i, j, k): columns i, output channels j, part k of the pixels. DyLanes and XLanes elements
/// are copied at a time.
template <class Tile, class T, int DyLanes, int XLanes>
__global__ void __launch_bounds__(Tile::threads, 512 / Tile::threads)
    weight_gradient(WeightGradientArguments<T> p) {
  static_assert(Tile::threads >= Tile::m);  // for dbias
  using Element = typename Tile::Element;
  constexpr int depth = Tile::depth, stages = Tile::stages;
  constexpr int a_elements = depth * Tile::pitch_a, b_elements = depth * Tile::pitch_b;
  auto* shared = reinterpret_cast<Element*>(dynamic_shared());
  const auto a_of = [&](int slot) { return shared + slot * (a_elements + b_elements); };
  const auto b_of = [&](int slot) { return a_of(slot) + a_elements; };

  const Share<Tile, Tile::m, DyLanes> a_share;
  const Share<Tile, Tile::n, XLanes> b_share;
  const int first_channel = static_cast<int>(blockIdx.y) * Tile::m;
  const int first_column = static_cast<int>(blockIdx.x) * Tile::n;
  const int channel = first_channel + a_share.column;
  const typename Patches::Column column = p.patches.column(first_column + b_share.column);

  const auto copy = [&](int step, int slot) {
    a_share.for_each_row([&](int row) {
      const int pixel = step * depth + row;
      const bool valid = pixel < p.pixels && channel < p.c_out;
      const T* from = p.dy + (valid ? static_cast<std::int64_t>(pixel) * p.c_out + channel : 0);
      stage<DyLanes, false>(a_of(slot) + row * Tile::pitch_a + a_share.column, from, valid);
    });
    b_share.for_each_row([&](int row) {
      const int pixel = step * depth + row;
      const typename Patches::Row patch = p.patches.row(pixel);
      const bool valid = pixel < p.pixels && p.patches.holds(patch, column);
      const T* from = p.x + (valid ? p.patches.index(patch, column) : 0);
      stage<XLanes, true>(b_of(slot) + row * Tile::pitch_b + b_share.column, from, valid);
    });
  };

  const std::int64_t steps = ceil_div(p.pixels, depth);
  const int begin = static_cast<int>(steps * blockIdx.z / gridDim.z);
  const int end = static_cast<int>(steps * (blockIdx.z + 1) / gridDim.z);
  const bool sums_dy =
      p.dbias != nullptr && blockIdx.x == 0 && static_cast<int>(threadIdx.x) < Tile::m;
  float dy_sum = 0;  // of the output channel that has the thread's number
  Tile tile;
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) {
    if (begin + i < end) copy(begin + i, i);
    async_commit();
  }
  for (int step = begin, slot = 0; step < end; ++step, slot = slot + 1 == stages ? 0 : slot + 1) {
    async_wait<stages - 2>();
    __syncthreads();  // this step's values have come, and nobody reads the slot that is next
    const int next = step + stages - 1;
    if (next < end) copy(next, slot == 0 ? stages - 1 : slot - 1);
    async_commit();
    tile.add_product(a_of(slot), b_of(slot));
    if (sums_dy)
      for (int k = 0; k < depth; ++k)
        dy_sum += static_cast<float>(a_of(slot)[k * Tile::pitch_a + threadIdx.x]);
  }

  const std::int64_t part = blockIdx.z * p.part_stride;
  tile.for_each_run([&](int row, int first, const Vector<float, Tile::run>& sums) {
    const int c = first_channel + row, n = first_column + first;
    if (c >= p.c_out) return;
    float* to = p.dweight + part + static_cast<std::int64_t>(c) * p.columns + n;
    if constexpr (XLanes > 1) {
      if (n < p.columns) store(to, sums);
    } else {
#pragma unroll
      for (int i = 0; i < Tile::run; ++i)
        if (n + i < p.columns) to[i] = sums[i];
    }
  });
  const int bias_channel = first_channel + static_cast<int>(threadIdx.x);
  if (sums_dy && bias_channel < p.c_out) p.dbias[part + bias_channel] = dy_sum;
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
