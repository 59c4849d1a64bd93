// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/shared.cuh"
#include "kernels/conv/implicit_gemm.cuh"
#include "kernels/conv/ladder.hpp"

// Tiles in shared memory, and smaller tiles in registers.
//
// A block computes 64 pixels x 64 channels, for one tap and 16 channels of the source at a time: it
// brings both factors, 64 x 16 each, from memory to shared memory once and uses each element 64
// times. That is s / 32 bytes of global memory a multiply-add (s bytes an element) instead of 2 s.
// A thread computes 8 x 4 of it: with 8 + 4 values from shared memory it does 32 multiply-adds, 1.5
// bytes each instead of 8. The factors lie in shared memory as float, the inner index outermost, so
// that a thread's values are vectors; rows are padded by 16 bytes to keep them aligned, with which
// two of the 16 elements that neighbours write at once share a bank.
//
// What is left: nothing is multiplied while the next tiles come, elements come one by one, and
// fewer than 16 channels of the source fill the tiles with zeros. 128 threads, 8.5 KB and some 100
// registers a thread: five blocks are in flight.

namespace anaphase::kernels::conv_ladder {
namespace {

using namespace implicit_gemm;

constexpr int side = 64, depth = 16, threads = 128;
constexpr int thread_rows = 8, thread_columns = 4;
constexpr int pitch = side + 4;

template <Direction D, class T>
__global__ void __launch_bounds__(threads, 3) tiled(const Views<D> views, const Arguments<T> p) {
  __shared__ SharedArray<float, depth * pitch> source_tile;
  __shared__ SharedArray<float, depth * pitch> weight_tile;
  const View& view = views[static_cast<int>(blockIdx.y)];
  const int column_tiles = ceil_div(view.columns, side), block = static_cast<int>(blockIdx.x);
  const int first_row = block / column_tiles * side, first_column = block % column_tiles * side;
  if (first_row >= view.rows) return;

  // A thread copies one of the 16 channels, of every eighth row: neighbours share cache lines. The
  // weights of the gradient lie with their columns side by side.
  constexpr int copied_rows = threads / depth;
  constexpr bool columns_together = D == Direction::input_gradient;
  const int thread = static_cast<int>(threadIdx.x);
  const int copied_channel = thread % depth, copied_row = thread / depth;
  const int tile_row = thread / (side / thread_columns) * thread_rows;
  const int tile_column = thread % (side / thread_columns) * thread_columns;
  float* const sources = source_tile.data();
  float* const weights = weight_tile.data();

  Vector<float, thread_columns> sums[thread_rows] = {};
  Inner at{};
  while (view.has(at)) {
#pragma unroll
    for (int i = 0; i < side; i += copied_rows) {
      const int row = copied_row + i;
      const Row position = view.row(first_row + row);
      const Inner mine{at.channel + copied_channel, at.d, at.h, at.w};
      const bool exists = mine.channel < view.channels && view.holds<D>(position, mine);
      sources[copied_channel * pitch + row] =
          exists ? static_cast<float>(p.source[view.source_index<D>(position.pixel, mine)]) : 0.0F;
    }
#pragma unroll
    for (int i = thread; i < side * depth; i += threads) {
      const int column = columns_together ? i % side : i / depth;
      const int channel = columns_together ? i / side : i % depth;
      const Inner mine{at.channel + channel, at.d, at.h, at.w};
      const bool exists = mine.channel < view.channels && first_column + column < view.columns;
      weights[channel * pitch + column] =
          exists ? static_cast<float>(p.weight[view.weight_index<D>(mine, first_column + column)])
                 : 0.0F;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < depth; ++k) {
      const Vector<float, 4> low = load<4>(sources + k * pitch + tile_row);
      const Vector<float, 4> high = load<4>(sources + k * pitch + tile_row + 4);
      const Vector<float, 4> weight = load<4>(weights + k * pitch + tile_column);
#pragma unroll
      for (int i = 0; i < thread_rows; ++i)
#pragma unroll
        for (int j = 0; j < thread_columns; ++j)
          sums[i][j] += (i < 4 ? low[i % 4] : high[i % 4]) * weight[j];
    }
    __syncthreads();
    // On to the next 16 channels, or to the first of the next tap.
    if (at.channel + depth < view.channels)
      at.channel += depth;
    else
      view.advance(at, view.channels - at.channel);
  }
#pragma unroll
  for (int i = 0; i < thread_rows; ++i) {
    const int row = first_row + tile_row + i;
    if (row < view.rows) p.output.put(view.output_pixel(row), first_column + tile_column, sums[i]);
  }
}

template <class Operation>
void launch_tiled(Gpu gpu, const Operation& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    for_each_launch(op, [&](const auto& views) {
      const int tiles = ceil_div(views.rows(), side) * ceil_div(views.view[0].columns, side);
      const dim3 blocks(static_cast<unsigned>(tiles), static_cast<unsigned>(views.count));
      launch<tiled<direction_of<Operation>, T>>(gpu, {blocks, threads}, views, arguments_of<T>(op));
    });
  });
}

}  // namespace

void v2_tiled(Gpu gpu, const ConvForward& op) {
  launch_tiled(gpu, op);
}

void v2_tiled(Gpu gpu, const ConvInputGradient& op) {
  launch_tiled(gpu, op);
}

}  // namespace anaphase::kernels::conv_ladder
