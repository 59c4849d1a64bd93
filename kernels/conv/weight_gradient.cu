// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/weight_gradient.cuh"

#include <algorithm>

// dweight[co, tap, ci] = sum over the pixels of y of dy[pixel, co] x[pixel's input under tap, ci]
// dbias[co] = sum over the pixels of dy[pixel, co]
//
// A product of two tall matrices, of which the right one, the input values under every tap, is
// gathered while it is copied to shared memory and never made (weight_gradient.cuh).
//
// Operations: 2 pixels c_out taps c_in. Bytes: x, dy and dweight once at the least, which is what
// comes from memory, and once more per tile that wants them from the L2 cache; x from the L1 cache
// where neighbouring taps lie in one tile. With 64 channels and 3 x 3 taps that makes 288
// operations a byte in bf16, where an H100 balances (990 TFLOP/s, 3.35 TB/s), and 144 in float32,
// where its 67 TFLOP/s make arithmetic the bound.
//
// Tiles: the largest is 128 x 128 for 256 threads, 64 sums a thread in registers: per pixel a
// thread on the CUDA cores reads 16 floats of shared memory for 64 multiply-adds, a warp on the
// tensor cores 6 matrix quadruples for 32 instructions per 32 pixels. Few channels of either kind
// take flatter or narrower tiles. Two blocks of 256 threads, or as many smaller ones, share a
// multiprocessor (at most 128 registers a thread, 32 KiB of shared memory on the CUDA cores, 51 KiB
// on the tensor cores, where three stages of copies are under way). Channels that make no multiples
// of 16 bytes are copied element by element.
//
// The pixels are split into parts where there are too few tiles to fill a GPU; each part's sums go
// to the workspace, and a second kernel adds them up in order. dbias falls off at the first column
// of tiles, from the values of dy that are in shared memory anyway.

namespace anaphase::kernels {
namespace {

/// Tiles for many channels, for at most 64, 32 and 16 channels of y, and for few columns.
struct CoreTiles {
  using Large = CoreTile<128, 128, 8, 8>;
  using Medium = CoreTile<64, 128, 8, 8>;
  using Low = CoreTile<32, 128, 4, 8>;
  using Lowest = CoreTile<16, 64, 4, 4>;
  using Narrow = CoreTile<64, 32, 8, 4>;
};

template <class T>
struct TensorTiles {
  using Large = TensorTile<T, 128, 128, 2, 4>;
  using Medium = TensorTile<T, 64, 128, 2, 2>;
  using Low = TensorTile<T, 32, 128, 1, 4>;
  using Lowest = TensorTile<T, 16, 64, 1, 2>;
  using Narrow = TensorTile<T, 64, 32, 2, 1>;
};

int columns_of(const ConvShape& s) {
  return s.kernel_d * s.kernel_h * s.kernel_w * s.c_in;
}

int pixels_of(const ConvShape& s) {
  return s.n * s.out_d() * s.out_h() * s.out_w();
}

std::int64_t weights_of(const ConvShape& s) {
  return std::int64_t{s.c_out} * columns_of(s);
}

/// From the sums of a part, those of dweight before those of dbias, to the next: 16 bytes are
/// written at a time.
std::int64_t part_stride(const ConvShape& s) {
  return ceil_div<std::int64_t>(weights_of(s) + s.c_out, 4) * 4;
}

template <class Tile_, class T_, int DyLanes, int XLanes>
struct Choice {
  using Tile = Tile_;
  using T = T_;
  static constexpr int dy_lanes = DyLanes, x_lanes = XLanes;
};

template <class Tiles, class T, class F>
void with_tile_of(const ConvShape& s, F&& f) {
  constexpr int lanes = lanes_of<T>;
  const bool dy_vectors = s.c_out % lanes == 0, x_vectors = s.c_in % lanes == 0;
  if (!dy_vectors && !x_vectors) return f(Choice<typename Tiles::Lowest, T, 1, 1>{});
  if (!dy_vectors) return f(Choice<typename Tiles::Lowest, T, 1, lanes>{});
  if (!x_vectors && s.c_out <= 16) return f(Choice<typename Tiles::Lowest, T, lanes, 1>{});
  if (!x_vectors) return f(Choice<typename Tiles::Narrow, T, lanes, 1>{});
  if (s.c_out <= 16) return f(Choice<typename Tiles::Lowest, T, lanes, lanes>{});
  if (columns_of(s) <= 32) return f(Choice<typename Tiles::Narrow, T, lanes, lanes>{});
  if (s.c_out <= 32) return f(Choice<typename Tiles::Low, T, lanes, lanes>{});
  if (s.c_out <= 64) return f(Choice<typename Tiles::Medium, T, lanes, lanes>{});
  return f(Choice<typename Tiles::Large, T, lanes, lanes>{});
}

/// f(Choice<...>{}) with what computes this operation on this device: its sizes alone decide.
template <class F>
void with_choice(Gpu gpu, const ConvWeightGradient& op, F&& f) {
  const bool has_tensor_cores = architecture(gpu) >= 80;
  with_gpu_type(op.type, [&]<class T>(T) {
    if (has_tensor_cores && (op.type == DType::bf16 || op.allow_tf32))
      with_tile_of<TensorTiles<T>, T>(op.shape, f);
    else
      with_tile_of<CoreTiles, T>(op.shape, f);
  });
}

/// Into how many parts the pixels are split, so that the blocks fill a GPU. A constant one, of 128
/// multiprocessors with 512 threads each: the order of the sums must not depend on the GPU at hand.
/// The time of a choice is that of a block's steps for every round of blocks that the GPU takes,
/// and more than one part costs what it takes to write and read the sums of all blocks, and
/// another launch.
template <class Tile>
int splits_of(const ConvShape& s) {
  constexpr int slots = 128 * 512 / Tile::threads, most_rounds = 4;
  const int tiles = ceil_div(columns_of(s), Tile::n) * ceil_div(s.c_out, Tile::m);
  const int steps = ceil_div(pixels_of(s), Tile::depth);
  const auto time_of = [&](int splits) {  // times slots
    const std::int64_t blocks = std::int64_t{tiles} * splits;
    const std::int64_t rounds = ceil_div<std::int64_t>(blocks, slots);
    const std::int64_t parts = splits > 1 ? blocks + slots / 4 : 0;
    return rounds * ceil_div(steps, splits) * slots + parts * Tile::steps_per_parts;
  };
  int best = 1;
  for (int blocks = slots / 16; blocks <= most_rounds * slots; blocks += slots / 16) {
    const int splits = std::clamp(blocks / tiles, 1, steps);
    if (time_of(splits) < time_of(best)) best = splits;
  }
  return best;
}

constexpr int sum_threads = 256;

/// Adds up the parts: Groups threads a sum take every Groups-th part, and their sums are added in
/// order.
template <int Groups>
__global__ void __launch_bounds__(sum_threads)
    sum_parts(std::int64_t count, std::int64_t weights, int splits, std::int64_t stride,
              const float* parts, float* dweight, float* dbias) {
  constexpr int width = sum_threads / Groups;
  __shared__ SharedArray<float, sum_threads> group_sums;
  const int thread = static_cast<int>(threadIdx.x), group = thread / width;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * width + thread % width;
  float sum = 0;
  if (i < count) {
#pragma unroll 8
    for (int part = group; part < splits; part += Groups) sum += parts[part * stride + i];
  }
  if constexpr (Groups > 1) {
    group_sums[thread] = sum;
    __syncthreads();
    if (group > 0) return;
    for (int g = 1; g < Groups; ++g) sum += group_sums[g * width + thread];
  }
  if (i < count) *(i < weights ? dweight + i : dbias + (i - weights)) = sum;
}

}  // namespace

std::size_t workspace_bytes(Gpu gpu, const ConvWeightGradient& op) {
  int splits = 1;
  with_choice(gpu, op,
              [&]<class Choice>(Choice) { splits = splits_of<typename Choice::Tile>(op.shape); });
  return splits > 1 ? splits * part_stride(op.shape) * sizeof(float) : 0;
}

void run(Gpu gpu, const ConvWeightGradient& op) {
  const ConvShape& s = op.shape;
  const int columns = columns_of(s);
  const std::int64_t weights = weights_of(s);
  auto* dweight = static_cast<float*>(op.dweight);
  auto* dbias = static_cast<float*>(op.dbias);
  auto* parts = static_cast<float*>(op.workspace);
  with_choice(gpu, op, [&]<class Choice>(Choice) {
    using Tile = typename Choice::Tile;
    using T = typename Choice::T;
    const int splits = splits_of<Tile>(s);
    const bool is_split = splits > 1;
    float* const bias_parts = dbias ? parts + weights : nullptr;
    const dim3 blocks(ceil_div(columns, Tile::n), ceil_div(s.c_out, Tile::m), splits);
    constexpr std::size_t shared_bytes = Tile::stages * Tile::depth *
                                         (Tile::pitch_a + Tile::pitch_b) *
                                         sizeof(typename Tile::Element);
    launch<weight_gradient<Tile, T, Choice::dy_lanes, Choice::x_lanes>>(
        gpu, {blocks, Tile::threads, shared_bytes},
        WeightGradientArguments<T>{.patches = Patches(s),
                                   .pixels = pixels_of(s),
                                   .c_out = s.c_out,
                                   .columns = columns,
                                   .x = static_cast<const T*>(op.x),
                                   .dy = static_cast<const T*>(op.dy),
                                   .dweight = is_split ? parts : dweight,
                                   .dbias = is_split ? bias_parts : dbias,
                                   .part_stride = part_stride(s)});
    if (!is_split) return;
    const std::int64_t count = weights + (dbias ? s.c_out : 0);
    const auto sum = [&]<int Groups>(std::integral_constant<int, Groups>) {
      launch<sum_parts<Groups>>(gpu, {blocks_for(count, sum_threads / Groups, count), sum_threads},
                                count, weights, splits, part_stride(s), parts, dweight, dbias);
    };
    if (splits < 32) return sum(std::integral_constant<int, 1>{});
    sum(std::integral_constant<int, 8>{});
  });
}

}  // namespace anaphase::kernels
