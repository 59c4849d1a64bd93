// SPDX-License-Identifier: Apache-2.0
#pragma once

// What v3 and v4 have in common: a block of threads that copies tiles of both factors to shared
// memory while it multiplies those that came before.
//
// A tile holds `rows` pixels (or channels) of 64 bytes each: 16 floats or 32 bf16 of the inner
// index, in chunks of 16 bytes. The gradient's weights are the exception: they lie in memory, and
// so in the tile, with their columns side by side. A thread copies the same chunk of several rows:
// which tap and channel that is it works out once a tile, walking along them without a division
// (Inner); a row is a pixel's number and the set of taps that fall inside the source (TapSet), so
// that it takes an addition and a comparison. A chunk outside is copied as zeros.
//
// Chunks lie swizzled: eight threads that take the same chunk of eight neighbouring rows, as
// ldmatrix and the products' own loads do, find them in different banks, without padding.

#include <algorithm>

#include "kernels/common/gpu/async_copy.cuh"
#include "kernels/common/gpu/shared.cuh"
#include "kernels/conv/implicit_gemm.cuh"
#include "kernels/conv/ladder.hpp"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {
namespace implicit_gemm {

inline constexpr int chunk_bytes = 16, row_bytes = 64, row_chunks = row_bytes / chunk_bytes;

/// Inner indices of a tile.
template <class T>
inline constexpr int depth = static_cast<int>(row_bytes / sizeof(T));

/// Where a chunk of a row lies in a tile of rows of `Chunks` chunks, in bytes. Step: by how much
/// chunks change places from one 128 bytes to the next.
template <int Chunks, int Step = 1>
__device__ int swizzled(int row, int chunk) {
  constexpr int line = std::min(Chunks, 8);  // chunks of a row in 128 bytes
  return (row * Chunks + (chunk ^ row / (8 / line) * Step % line)) * chunk_bytes;
}

/// Where a weight lies in a tile with columns side by side. Step as above, or 0.
template <class T, int Columns, int Step>
__device__ int weight_offset(int row, int column) {
  return swizzled<Columns / lanes_of<T>, Step>(row, column / lanes_of<T>) +
         column % lanes_of<T> * static_cast<int>(sizeof(T));
}

/// One chunk to shared memory, of which `count` elements exist: beside the arithmetic where they
/// are aligned and all or none exist, at once otherwise.
template <bool Aligned, bool Kept, class T>
__device__ void copy_chunk(unsigned char* to, const T* from, int count) {
  if constexpr (Aligned) {
    async_copy_16<Kept>(to, from, count > 0);
  } else {
    Vector<T, lanes_of<T>> chunk{};
#pragma unroll
    for (int i = 0; i < lanes_of<T>; ++i)
      if (i < count) chunk[i] = from[i];
    store(reinterpret_cast<T*>(to), chunk);
  }
}

/// The taps at which a row meets the source, a bit for each tap of an axis, and the pixel that it
/// meets at tap 0. 8 bytes in shared memory, where 16 or four registers would be too many.
struct alignas(8) TapSet {
  int pixel;
  unsigned taps;

  static constexpr int axis_bits = conv_ladder::most_taps;

  template <Direction D>
  static __device__ TapSet of(const View& view, const Row& row) {
    const auto bits = [](int position, const Axis& axis) {
      const int first = D == Direction::forward ? -position : position - axis.source + 1;
      const int end = D == Direction::forward ? axis.source - position : position + 1;
      const int from = first < 0 ? 0 : first, to = end < axis.taps ? end : axis.taps;
      return from < to ? (1U << to) - (1U << from) : 0U;
    };
    return {row.pixel, bits(row.d, view.d) | bits(row.h, view.h) << axis_bits |
                           bits(row.w, view.w) << 2 * axis_bits};
  }
  /// The bits of one tap; for an index beyond the last, bits that no row has.
  static __device__ unsigned bits_of(const View& view, const Inner& at) {
    return view.has(at) ? 1U << at.d | 1U << (axis_bits + at.h) | 1U << (2 * axis_bits + at.w)
                        : ~0U;
  }
  __device__ bool has(unsigned bits) const { return (taps & bits) == bits; }
};
static_assert(3 * TapSet::axis_bits < 32);

/// A thread's part in copying tiles of the source.
template <Direction D, class T, int Rows, int Threads, bool Aligned>
class SourceCopy {
 public:
  static constexpr int bytes = Rows * row_bytes;

  __device__ SourceCopy(const View& view, const TapSet* rows, int first_inner)
      : at_(view.inner_at(first_inner + chunk() * lanes_of<T>)), rows_(rows + tile_row()) {}

  /// Copies the thread's chunks and goes on to the next tile.
  __device__ void copy(const View& view, const T* source, unsigned char* tile) {
    if constexpr (Aligned) {
      const unsigned bits = TapSet::bits_of(view, at_);
#pragma unroll
      for (int i = 0; i < passes; ++i) {
        const TapSet row = rows_[i * pass_rows];
        const T* from = source + (row.has(bits) ? view.source_index<D>(row.pixel, at_) : 0);
        async_copy_16<true>(tile + offset(i), from, row.has(bits));
      }
    } else {
      Inner element = at_;
      Vector<T, lanes_of<T>> chunks[passes] = {};
#pragma unroll
      for (int k = 0; k < lanes_of<T>; ++k) {
        const unsigned bits = TapSet::bits_of(view, element);
#pragma unroll
        for (int i = 0; i < passes; ++i) {
          const TapSet row = rows_[i * pass_rows];
          if (row.has(bits)) chunks[i][k] = source[view.source_index<D>(row.pixel, element)];
        }
        view.advance(element, 1);
      }
#pragma unroll
      for (int i = 0; i < passes; ++i) store(reinterpret_cast<T*>(tile + offset(i)), chunks[i]);
    }
    view.advance(at_, depth<T>);
  }

 private:
  static constexpr int pass_rows = Threads / row_chunks, passes = Rows / pass_rows;
  static_assert(Rows % pass_rows == 0 && pass_rows % 8 == 0);

  static __device__ int chunk() {
    return static_cast<int>(threadIdx.x) % row_chunks;
  }
  static __device__ int tile_row() {
    return static_cast<int>(threadIdx.x) / row_chunks;
  }
  static __device__ int offset(int pass) {  // the swizzle repeats after 8 rows
    return swizzled<row_chunks>(tile_row(), chunk()) + pass * pass_rows * row_bytes;
  }

  Inner at_;
  const TapSet* rows_;
};

/// The same for the weights.
template <Direction D, class T, int Columns, int Threads, bool Aligned, int Step>
class WeightCopy;

template <class T, int Columns, int Threads, bool Aligned, int Step>
class WeightCopy<Direction::forward, T, Columns, Threads, Aligned, Step> {
 public:
  static constexpr int bytes = Columns * row_bytes;

  __device__ WeightCopy(const View&, int first_column, int) : first_column_(first_column) {}

  __device__ void copy(const View& view, const T* weight, int first_inner, unsigned char* tile) {
    const int inner = first_inner + chunk() * lanes_of<T>, count = view.inner - inner;
#pragma unroll
    for (int i = 0; i < ceil_div(Columns, pass_columns); ++i) {
      if (Columns < pass_columns && tile_column() >= Columns) break;
      const int column = first_column_ + tile_column() + i * pass_columns;
      const bool exists = column < view.columns && count > 0;
      const std::int64_t index = static_cast<std::int64_t>(column) * view.inner + inner;
      copy_chunk<Aligned, false>(
          tile + swizzled<row_chunks>(tile_column() + i * pass_columns, chunk()),
          weight + (exists ? index : 0), exists ? count : 0);
    }
  }

 private:
  static constexpr int pass_columns = Threads / row_chunks;

  static __device__ int chunk() {
    return static_cast<int>(threadIdx.x) % row_chunks;
  }
  static __device__ int tile_column() {
    return static_cast<int>(threadIdx.x) / row_chunks;
  }

  int first_column_;
};

template <class T, int Columns, int Threads, bool Aligned, int Step>
class WeightCopy<Direction::input_gradient, T, Columns, Threads, Aligned, Step> {
 public:
  static constexpr int bytes = Columns * row_bytes;

  __device__ WeightCopy(const View& view, int first_column, int first_inner)
      : at_(view.inner_at(first_inner + tile_row())), column_(first_column) {}

  /// From the inner index `first_inner` on, that of the tile after the last one.
  __device__ void copy(const View& view, const T* weight, int, unsigned char* tile) {
    const std::int64_t row = view.weight_index<Direction::input_gradient>(at_, 0);
#pragma unroll
    for (int i = 0; i < ceil_div(chunks, row_threads); ++i) {
      const int chunk = static_cast<int>(threadIdx.x) % row_threads + i * row_threads;
      if (chunks < row_threads && chunk >= chunks) break;
      const int column = column_ + chunk * lanes_of<T>;
      const bool exists = view.has(at_) && column < view.columns;
      copy_chunk<Aligned, false>(
          tile + weight_offset<T, Columns, Step>(tile_row(), chunk * lanes_of<T>),
          weight + (exists ? row + column : 0), exists ? view.columns - column : 0);
    }
    view.advance(at_, depth<T>);
  }

 private:
  static constexpr int chunks = Columns / lanes_of<T>, row_threads = Threads / depth<T>;

  static __device__ int tile_row() {
    return static_cast<int>(threadIdx.x) / row_threads;
  }

  Inner at_;
  int column_;
};

/// Sums that are not complete: those of one split.
struct Partial {
  float* sums;  // [splits, pixels, columns], null where there is only one
  std::int64_t stride;
};

/// Into how many parts the sums of a block are cut on their way out, so that a part has room where
/// the tiles were.
template <class Product>
constexpr int output_parts(int tile_bytes) {
  int parts = 1;
  while (Product::rows / parts * Product::pitch * 4 > Product::stages * tile_bytes) parts *= 2;
  return parts;
}

/// A Product has its element type, direction, sizes of its tile, threads, blocks (of a
/// multiprocessor, at least), stages (tiles of each factor in shared memory), and
///   multiply(source, weight)   adds the product of two tiles to its sums;
///   weight_step                of the swizzle of weights with columns side by side;
///   holds_view                 whether the view is copied to shared memory: parameters that are
///     read by a number that is not known when compiling take a register each;
///   for_each_run(part, parts, visit(row, column, Vector<float, N>))   its sums of one part: of
///     every `band` rows of the tile the part's share, counted through.
template <class Product, bool Aligned>
struct Tiles {
  using T = typename Product::Element;
  static constexpr Direction direction = Product::direction;
  using Source = SourceCopy<direction, T, Product::rows, Product::threads, Aligned>;
  using Weight =
      WeightCopy<direction, T, Product::columns, Product::threads, Aligned, Product::weight_step>;
  static constexpr int bytes = Source::bytes + Weight::bytes;
  // Shared memory: the tiles, a TapSet for each row, and the view if it is wanted there.
  static constexpr int rows_at = bytes * Product::stages;
  static constexpr int view_at = rows_at + Product::rows * static_cast<int>(sizeof(TapSet));
  static constexpr std::size_t shared_bytes =
      view_at + (Product::holds_view ? sizeof(View) : std::size_t{0});
  static constexpr int parts = output_parts<Product>(bytes);
};

/// Blocks (tile, phase, split).
template <class Product, bool Aligned>
__global__ void __launch_bounds__(Product::threads, Product::blocks)
    convolve(const Views<Product::direction> views, const Arguments<typename Product::Element> p,
             const Partial partial) {
  using All = Tiles<Product, Aligned>;
  using T = typename All::T;
  const int phase = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  unsigned char* const shared = dynamic_shared();
  if constexpr (Product::holds_view) {
    if (thread < static_cast<int>(sizeof(View) / 4))
      reinterpret_cast<int*>(shared + All::view_at)[thread] =
          reinterpret_cast<const int*>(&views[phase])[thread];
    __syncthreads();
  }
  const View& view =
      Product::holds_view ? *reinterpret_cast<const View*>(shared + All::view_at) : views[phase];
  const int column_tiles = ceil_div(view.columns, Product::columns);
  const int tile = static_cast<int>(blockIdx.x);
  const int first_row = tile / column_tiles * Product::rows;
  const int first_column = tile % column_tiles * Product::columns;
  if (first_row >= view.rows) return;

  const std::int64_t all_steps = ceil_div(view.inner, depth<T>);
  const int begin = static_cast<int>(all_steps * blockIdx.z / gridDim.z);
  const int end = static_cast<int>(all_steps * (blockIdx.z + 1) / gridDim.z);

  Product product;
  if (begin < end) {
    auto* const rows = reinterpret_cast<TapSet*>(shared + All::rows_at);
    for (int i = thread; i < Product::rows; i += Product::threads)
      rows[i] = TapSet::of<All::direction>(view, view.row(first_row + i));
    __syncthreads();
    typename All::Source source(view, rows, begin * depth<T>);
    typename All::Weight weight(view, first_column, begin * depth<T>);
    const auto copy = [&](int step, int slot) {
      unsigned char* const to = shared + slot * All::bytes;
      source.copy(view, p.source, to);
      weight.copy(view, p.weight, step * depth<T>, to + All::Source::bytes);
    };
    constexpr int ahead = Product::stages - 1;
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      if (begin + i < end) copy(begin + i, i);
      async_commit();
    }
    int slot = 0;
    for (int step = begin; step < end; ++step) {
      async_wait<ahead - 1>();
      __syncthreads();  // this step's tiles are here, and nobody reads those of the last step
      if (step + ahead < end) copy(step + ahead, slot == 0 ? ahead : slot - 1);
      async_commit();
      const unsigned char* const from = shared + slot * All::bytes;
      product.multiply(from, from + All::Source::bytes);
      slot = slot + 1 == Product::stages ? 0 : slot + 1;
    }
  }

  // Out by way of shared memory, so that neighbouring threads write neighbouring vectors.
  constexpr int lanes = lanes_of<T>, vectors = Product::columns / lanes;
  constexpr int part_rows = Product::rows / All::parts, part_band = Product::band / All::parts;
  auto* const sums = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int part = 0; part < All::parts; ++part) {
    __syncthreads();
    product.for_each_run(part, All::parts, [&](int row, int column, const auto& run) {
      store(sums + row * Product::pitch + column, run);
    });
    __syncthreads();
#pragma unroll 1
    for (int i = thread; i < part_rows * vectors; i += Product::threads) {
      const int row = i / vectors, column = i % vectors * lanes;
      const int tile_row = row / part_band * Product::band + part * part_band + row % part_band;
      if (first_row + tile_row >= view.rows) continue;
      const auto value = load<lanes>(sums + row * Product::pitch + column);
      const std::int64_t pixel = view.output_pixel(first_row + tile_row);
      if (partial.sums) {
        const int count = view.columns - first_column - column;
        store_some(partial.sums + blockIdx.z * partial.stride + pixel * view.columns +
                       first_column + column,
                   value, count, view.columns % lanes == 0);
      } else {
        p.output.put(pixel, first_column + column, value);
      }
    }
  }
}

/// The splits' sums together, in their order.
template <class T>
__global__ void __launch_bounds__(256)
    add_splits(const Partial partial, const int splits, const Divisor vectors, const int count,
               const Output<T> output) {
  constexpr int lanes = 4;
  for_each_index(count, [&](std::int64_t i) {
    int pixel = static_cast<int>(i);
    const int column = vectors.split_off(pixel) * lanes;
    const std::int64_t at = static_cast<std::int64_t>(pixel) * output.columns + column;
    Vector<float, lanes> sum{};
    for (int split = 0; split < splits; ++split) {
      const Vector<float, lanes> one =
          load_some<lanes>(partial.sums + split * partial.stride + at, output.columns - column,
                           output.columns % lanes == 0);
#pragma unroll
      for (int k = 0; k < lanes; ++k) sum[k] += one[k];
    }
    output.put(pixel, column, sum);
  });
}

inline int pixel_count(const ConvForward& op) {
  const ConvShape& s = op.shape;
  return s.n * s.out_d() * s.out_h() * s.out_w();
}
inline int pixel_count(const ConvInputGradient& op) {
  const ConvShape& s = op.shape;
  return s.n * s.d * s.h * s.w;
}

template <class Product, bool Aligned, class Operation>
void launch_convolve(Gpu gpu, const Operation& op, int splits) {
  using T = typename Product::Element;
  using All = Tiles<Product, Aligned>;
  const Arguments<T> arguments = arguments_of<T>(op);
  const int columns = arguments.output.columns, pixels = pixel_count(op);
  const Partial partial{splits > 1 ? static_cast<float*>(op.workspace) : nullptr,
                        std::int64_t{pixels} * columns};
  for_each_launch(op, [&](const auto& views) {
    const dim3 blocks(static_cast<unsigned>(ceil_div(views.rows(), Product::rows) *
                                            ceil_div(columns, Product::columns)),
                      static_cast<unsigned>(views.count), static_cast<unsigned>(splits));
    launch<convolve<Product, Aligned>>(gpu, {blocks, Product::threads, All::shared_bytes}, views,
                                       arguments, partial);
  });
  if (splits == 1) return;
  const int vectors = ceil_div(columns, 4), count = pixels * vectors;
  launch<add_splits<T>>(gpu, {blocks_for(count, 256), 256}, partial, splits, Divisor(vectors),
                        count, arguments.output);
}

/// Calls launch_convolve with the product that has the tiling's tile. Products: a template over
/// rows and columns.
template <template <Direction, class, int, int> class Product, class T, class Operation>
void launch_tiling(Gpu gpu, const Operation& op, const conv_ladder::Tiling& tiling) {
  constexpr Direction D = direction_of<Operation>;
  constexpr int lanes = lanes_of<T>;
  const View view = views_of(op).front();
  if (std::max({view.d.taps, view.h.taps, view.w.taps}) > conv_ladder::most_taps)
    throw Error("this convolution kernel takes at most 10 taps an axis: use v2_tiled");
  const bool aligned =
      view.channels % lanes == 0 && (D == Direction::forward || view.columns % lanes == 0);
  if (!aligned) {
    constexpr conv_ladder::Tiling tile = conv_ladder::gathering_tile;
    return launch_convolve<Product<D, T, tile.rows, tile.columns>, false>(gpu, op, tiling.splits);
  }
  bool found = false;
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    const auto launch_if = [&]<std::size_t i>(std::integral_constant<std::size_t, i>) {
      constexpr conv_ladder::Tiling tile = conv_ladder::tiles[i];
      if (tile.rows != tiling.rows || tile.columns != tiling.columns) return;
      launch_convolve<Product<D, T, tile.rows, tile.columns>, true>(gpu, op, tiling.splits);
      found = true;
    };
    (launch_if(std::integral_constant<std::size_t, I>{}), ...);
  }
  (std::make_index_sequence<std::size(conv_ladder::tiles)>{});
  if (!found) throw Error("the convolution kernels have no such tile: take one of their table");
}

}  // namespace implicit_gemm
}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
