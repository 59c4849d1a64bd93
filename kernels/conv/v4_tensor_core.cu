// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/matrix.cuh"
#include "kernels/conv/pipelined.cuh"

// The product of two tiles by matrix instructions: bf16 with float sums, or float32 rounded to
// tf32.
//
// Tiles and copies are those of v3, with three pairs of tiles instead of two, because a tile is
// multiplied sooner than the next one arrives. Four warps share a tile, in the widest case 64 x 64
// sums each: for 16 inner indices of bf16 a warp loads 4 KB by ldmatrix and does 65536
// multiply-adds, 1/16 byte each (64 x 32 sums: 3/32; 32 x 32: 1/8). A multiprocessor loads 128
// bytes a clock, so that is enough for 2048, 1365 and 1024 multiply-adds a clock; the tensor cores
// of compute capability 8.0 do 1024, those of 8.6 and 8.9 512 at most, those of 9.0 2048 with
// instructions of a generation of their own (wgmma), which this kernel does without. From global
// memory come s / 64 bytes a multiply-add: 1/32 byte of bf16, mostly from the L2 cache, where 9
// taps find the same pixels.
//
// The gradient's weights lie with their columns side by side: ldmatrix transposes bf16 on its way;
// tf32 it cannot, so that each float is a load of its own, without bank conflicts. Fragments are
// rounded to tf32 and not cut off, which would make every product smaller: a few instructions a
// float, beside the 8 clocks that a matrix instruction takes.
//
// 128 threads with 64 x 64 sums a warp have 128 of their registers full of sums and use up to 240
// in all; two blocks (98 KB of shared memory) are in flight.

namespace anaphase::kernels::conv_ladder {
namespace {

using namespace implicit_gemm;

/// On the tensor cores: 4 warps, each with its part of the tile as fragments of 16 x 8 sums.
template <Direction D, class T, int Rows, int Columns>
class TensorProduct {
 public:
  using Element = T;
  static constexpr Direction direction = D;
  static constexpr int rows = Rows, columns = Columns, threads = 128, stages = 3;
  // A fragment of floats is 4 rows of 8 columns: two chunks have to stay together.
  static constexpr int weight_step = sizeof(T) == 4 ? 2 : 1;
  static constexpr bool holds_view = false;

 private:
  static constexpr int warps_across = Columns >= 64 ? 2 : 1, warps_down = 4 / warps_across;
  static constexpr int height = Rows / warps_down / 16, width = Columns / warps_across / 8;
  static constexpr int steps = row_bytes / 32;  // an instruction takes 32 bytes of a row
  static_assert(width % 2 == 0);

 public:
  static constexpr int blocks = height * width >= 32 ? 2 : height * width >= 16 ? 3 : 4;
  static constexpr int band = 16 * height, pitch = Columns + 8;

  __device__ void multiply(const unsigned char* source, const unsigned char* weight) {
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      std::uint32_t left[height][4];
#pragma unroll
      for (int i = 0; i < height; ++i) {
        load_matrices_4(left[i],
                        source +
                            swizzled<row_chunks>(warp_row() + lane() % 16, 2 * step + lane() / 16) +
                            i * 16 * row_bytes);
        round(left[i]);
      }
#pragma unroll
      for (int j = 0; j < width; j += 2) {
        std::uint32_t right[4];
        load_weights(right, weight, step, j);
        round(right);
#pragma unroll
        for (int i = 0; i < height; ++i) {
          multiply_add(sums_[i][j], left[i], {right[0], right[1]});
          multiply_add(sums_[i][j + 1], left[i], {right[2], right[3]});
        }
      }
    }
  }

  template <class Visit>
  __device__ void for_each_run(int part, int parts, Visit&& visit) const {
    const int row = warp_row() / parts + lane() / 4, column = warp_column() + lane() % 4 * 2;
    const int share = height / parts;
#pragma unroll
    for (int i = 0; i < share; ++i)
#pragma unroll
      for (int j = 0; j < width; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float(&sums)[4] = sums_[part * share + i][j];
          visit(row + 16 * i + 8 * half, column + 8 * j,
                Vector<float, 2>{sums[2 * half], sums[2 * half + 1]});
        }
  }

 private:
  static __device__ int lane() {
    return static_cast<int>(threadIdx.x) % 32;
  }
  static __device__ int warp_row() {
    return static_cast<int>(threadIdx.x) / 32 / warps_across * band;
  }
  static __device__ int warp_column() {
    return static_cast<int>(threadIdx.x) / 32 % warps_across * (8 * width);
  }

  /// The fragments of columns 8 j to 8 j + 15 of the warp.
  static __device__ void load_weights(std::uint32_t (&right)[4], const unsigned char* tile,
                                      int step, int j) {
    const int column = warp_column() + 8 * j;
    if constexpr (D == Direction::forward) {
      load_matrices_4(right, tile +
                                 swizzled<row_chunks>(warp_column() + lane() % 8 + lane() / 16 * 8,
                                                      2 * step + lane() / 8 % 2) +
                                 8 * j * row_bytes);
    } else if constexpr (sizeof(T) == 2) {
      load_matrices_4<true>(right, tile + weight_offset<T, Columns, weight_step>(
                                              16 * step + lane() % 16, column + lane() / 16 * 8));
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        right[i] = *reinterpret_cast<const std::uint32_t*>(
            tile + weight_offset<T, Columns, weight_step>(8 * step + lane() % 4 + i % 2 * 4,
                                                          column + lane() / 4 + i / 2 * 8));
    }
  }

  static __device__ void round(std::uint32_t (&fragment)[4]) {
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (std::uint32_t& bits : fragment) bits = to_tf32(__uint_as_float(bits));
    }
  }
  static __device__ void multiply_add(float (&sums)[4], const std::uint32_t (&left)[4],
                                      const std::uint32_t (&right)[2]) {
    if constexpr (sizeof(T) == 4)
      mma_tf32(sums, left, right);
    else
      mma_bf16(sums, left, right);
  }

  float sums_[height][width][4] = {};
};

}  // namespace

void v4_tensor_core(Gpu gpu, const ConvForward& op, Tiling tiling) {
  with_gpu_type(op.type, [&]<class T>(T) { launch_tiling<TensorProduct, T>(gpu, op, tiling); });
}

void v4_tensor_core(Gpu gpu, const ConvInputGradient& op, Tiling tiling) {
  with_gpu_type(op.type, [&]<class T>(T) { launch_tiling<TensorProduct, T>(gpu, op, tiling); });
}

}  // namespace anaphase::kernels::conv_ladder
