// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/reduce.cuh"
#include "kernels/common/gpu/vector.cuh"
#include "kernels/elementwise/elementwise.hpp"

// v[n, c] = sum over p of x[n, p, c]: the columns of one matrix a sample.
//
// Bytes: x once, the least possible. One addition an element: bound by memory. A block of 256
// threads takes a strip of `Width` vectors of one sample: neighbouring threads read neighbouring
// vectors of a row, and each keeps four rows' loads in flight. The strip is 128 bytes wide where
// that makes blocks enough to fill a GPU, else 32 bytes (the size of a DRAM sector, so that nothing
// is read in vain), which gives four times as many. What the threads of a column have found is
// added by shuffles within a warp, then, through 2 KB of shared memory at most, warp after warp:
// an order that depends on the sizes alone. At most pixels / (4 * rows) + 17 additions follow one
// another, rows = 256 / Width.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256, warps = threads / 32;
constexpr int enough_blocks = 128;

template <int Lanes>
__device__ void add(Vector<float, Lanes>& sum, const Vector<float, Lanes>& x) {
#pragma unroll
  for (int k = 0; k < Lanes; ++k) sum[k] += x[k];
}

template <class T, int Lanes, int Width>
__global__ void __launch_bounds__(threads)
    sum_columns(int n, std::int64_t pixels, int columns, const T* x, T* v) {
  constexpr int rows = threads / Width, strip = Width * Lanes;
  __shared__ SharedArray<float, warps * strip> partial;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int first = static_cast<int>(blockIdx.x) * Width, column = first + thread % Width;
  const std::int64_t row = std::int64_t{columns} * Lanes;
  for_each_sample(n, [&](int sample) {
    Vector<float, Lanes> sum{};
    if (column < columns) {
      const T* from = x + sample * pixels * row + column * Lanes;
      std::int64_t p = thread / Width;
      for (; p + 3 * rows < pixels; p += 4 * rows) {
        Vector<float, Lanes> four[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) four[i] = load_float<Lanes>(from + (p + i * rows) * row);
        add(four[0], four[1]);
        add(four[2], four[3]);
        add(four[0], four[2]);
        add(sum, four[0]);
      }
      for (; p < pixels; p += rows) add(sum, load_float<Lanes>(from + p * row));
    }
#pragma unroll
    for (int distance = 16; distance >= Width; distance /= 2)
#pragma unroll
      for (int k = 0; k < Lanes; ++k) sum[k] += __shfl_xor_sync(all_lanes, sum[k], distance);
    if (lane < Width)
#pragma unroll
      for (int k = 0; k < Lanes; ++k) partial[warp * strip + lane * Lanes + k] = sum[k];
    __syncthreads();
    if (thread < strip && first * Lanes + thread < row) {
      float total = 0;
#pragma unroll
      for (int w = 0; w < warps; ++w) total += partial[w * strip + thread];
      v[sample * row + first * Lanes + thread] = T(total);
    }
    __syncthreads();
  });
}

template <class T, int Lanes, int Width>
void sum_strips(Gpu gpu, const SumPerSample& op) {
  const int columns = op.channels / Lanes;
  const dim3 blocks = sample_blocks(ceil_div(columns, Width), op.n);
  launch<sum_columns<T, Lanes, Width>>(gpu, {blocks, threads}, op.n, op.pixels, columns,
                                       static_cast<const T*>(op.x), static_cast<T*>(op.v));
}

}  // namespace

void run(Gpu gpu, const SumPerSample& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.channels, [&]<class Lanes>(Lanes) {
      constexpr int lanes = Lanes::value, wide = lanes > 1 ? 8 : 32;
      const std::int64_t strips = ceil_div(op.channels / lanes, wide);
      if (op.n * strips >= enough_blocks)
        sum_strips<T, lanes, wide>(gpu, op);
      else
        sum_strips<T, lanes, wide / 4>(gpu, op);
    });
  });
}

}  // namespace anaphase::kernels
