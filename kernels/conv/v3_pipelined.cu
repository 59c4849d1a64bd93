// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/pipelined.cuh"

// The next tiles are copied, 16 bytes at a time and past the registers, while these are multiplied.
//
// A block computes 128 pixels x 128 channels in the widest case (other shapes: conv_ladder::tiles),
// for 64 bytes of the inner index at a time, and has two pairs of tiles: cp.async fills one while
// the threads work on the other, with one barrier in between (pipelined.cuh). An element that
// arrives is used 128 times: s / 64 bytes of global memory a multiply-add instead of v2's s / 32.
// A copy of 16 bytes is one instruction of a thread instead of 4 or 8 loads, conversions and
// stores. The inner index is taken as one row of taps and channels, so that only its end is filled
// up with zeros and not each tap's.
//
// Copies leave the elements as they lie in memory, the inner index innermost. So a thread takes 4
// inner indices of a row with one load of 16 bytes (2 where registers are short): for 8 x 8 sums 16
// loads are 256 multiply-adds, 1 byte each (8 x 4 sums: 1.5), of which neighbours share the greater
// part. The inner loop of float32 is 282 instructions, 256 of them multiply-adds, so that the rate
// of the CUDA cores is the limit; registers (128 of a thread for 256 threads and two blocks) keep
// tiles from growing further.

namespace anaphase::kernels::conv_ladder {
namespace {

using namespace implicit_gemm;

/// On the CUDA cores, in float: a thread has 8 x 8 or 8 x 4 sums.
template <Direction D, class T, int Rows, int Columns>
class CoreProduct {
 public:
  using Element = T;
  static constexpr Direction direction = D;
  static constexpr int rows = Rows, columns = Columns, stages = 2;
  static constexpr int weight_step = 0;
  static constexpr bool holds_view = D == Direction::input_gradient;
  static constexpr int band = Rows, pitch = Columns + 8;

 private:
  static constexpr int height = 8, width = Columns >= 64 ? 8 : 4;       // of a thread's sums
  static constexpr int down = Rows / height, across = Columns / width;  // threads
  /// Inner indices at a time: as many as registers allow.
  static constexpr int step = D == Direction::forward && sizeof(T) == 4 ? 4 : 2;

 public:
  static constexpr int threads = down * across;
  static constexpr int blocks = threads == 64 ? 6 : threads == 128 ? 3 : 2;

  __device__ void multiply(const unsigned char* source, const unsigned char* weight) {
    // Rows (and columns) a multiple of 8 apart have their chunks in the same order: one address
    // serves for all of a thread's, unless its columns are 4 apart.
    const int source_row = row(), weight_row = D == Direction::forward ? column(0) : 0;
#pragma unroll 1
    for (int k = 0; k < depth<T>; k += step) {
      float weights[step][width];
      if constexpr (D == Direction::forward) {
        const unsigned char* const first = weight + offset(weight_row, k);
#pragma unroll
        for (int j = 0; j < width; ++j) {
          const Vector<float, step> one = load_run<step>(
              across % 8 == 0 ? first + j * across * row_bytes : weight + offset(column(j), k));
#pragma unroll
          for (int q = 0; q < step; ++q) weights[q][j] = one[q];
        }
      } else {
        const unsigned char* const first = weight + weight_offset<T, Columns, 0>(k, column(0));
#pragma unroll
        for (int q = 0; q < step; ++q)
#pragma unroll
          for (int j = 0; j < width; j += run) {
            const Vector<float, run> one =
                load_run<run>(first + weight_offset<T, Columns, 0>(q, j * across));
#pragma unroll
            for (int i = 0; i < run; ++i) weights[q][j + i] = one[i];
          }
      }
      const unsigned char* const first = source + offset(source_row, k);
#pragma unroll
      for (int i = 0; i < height; ++i) {
        const Vector<float, step> sources = load_run<step>(first + i * down * row_bytes);
#pragma unroll
        for (int q = 0; q < step; ++q)
#pragma unroll
          for (int j = 0; j < width; ++j) sums_[i][j] += sources[q] * weights[q][j];
      }
    }
  }

  template <class Visit>
  __device__ void for_each_run(int part, int parts, Visit&& visit) const {
#pragma unroll
    for (int i = 0; i < height / parts; ++i)
#pragma unroll
      for (int j = 0; j < width; j += run) {
        Vector<float, run> sums;
#pragma unroll
        for (int r = 0; r < run; ++r) sums[r] = sums_[part * (height / parts) + i][j + r];
        visit(row() + i * down, column(j), sums);
      }
  }

 private:
  /// Columns of a thread that lie together: those that it loads with one vector.
  static constexpr int run = D == Direction::forward ? 1 : 4;

  // A warp is 8 threads across, where the tile is wide enough, and 4 down: so a vector of each
  // factor serves several of them.
  static constexpr int warp_across = across < 8 ? across : 8, warp_down = 32 / warp_across;
  static __device__ int lane() {
    return static_cast<int>(threadIdx.x) % 32;
  }
  static __device__ int warp() {
    return static_cast<int>(threadIdx.x) / 32;
  }
  static __device__ int row() {
    return lane() / warp_across + warp() / (across / warp_across) * warp_down;
  }
  static __device__ int column(int j) {
    const int thread = lane() % warp_across + warp() % (across / warp_across) * warp_across;
    return thread * run + j / run * (across * run) + j % run;
  }
  /// Of an element of a tile with inner indices side by side.
  static __device__ int offset(int row, int k) {
    return swizzled<row_chunks>(row, k / lanes_of<T>) +
           k % lanes_of<T> * static_cast<int>(sizeof(T));
  }
  template <int N>
  static __device__ Vector<float, N> load_run(const unsigned char* from) {
    return load_float<N>(reinterpret_cast<const T*>(from));
  }

  float sums_[height][width] = {};
};

}  // namespace

void v3_pipelined(Gpu gpu, const ConvForward& op, Tiling tiling) {
  with_gpu_type(op.type, [&]<class T>(T) { launch_tiling<CoreProduct, T>(gpu, op, tiling); });
}

void v3_pipelined(Gpu gpu, const ConvInputGradient& op, Tiling tiling) {
  with_gpu_type(op.type, [&]<class T>(T) { launch_tiling<CoreProduct, T>(gpu, op, tiling); });
}

}  // namespace anaphase::kernels::conv_ladder
