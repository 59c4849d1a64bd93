// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/reduce.cuh"
#include "kernels/conv/implicit_gemm.cuh"
#include "kernels/conv/ladder.hpp"

// Convolutions to 1 to 4 channels, the heads of networks: the narrowest tile of v3 or v4 would
// multiply by zeros for the most part.
//
// 9 taps to N channels are 9 N multiply-adds for each element of x, which has to come from memory
// at least once: 4.5 N a byte of bf16, where an H100 has time for 10. So bytes decide for 1 and 2
// channels, and for 4 both. Each byte should come from memory once, and for the other taps from the
// L1 cache: the threads of a block have neighbouring pixels, and all channels of one tap are read
// before the next. Four threads share 4 pixels: each takes every fourth 16 bytes of their channels,
// 64 bytes together, and the weights that it loads for them serve all 4 pixels. No shared memory,
// no barrier; at the end the threads' sums meet in shuffles, and each writes one of the pixels.

namespace anaphase::kernels::conv_ladder {
namespace {

using namespace implicit_gemm;

constexpr int threads = 128, team = 4, pixels = 4;  // of a team of threads
constexpr int block_pixels = threads / team * pixels;

template <class T, int N>
__global__ void __launch_bounds__(threads, 5)
    convolve_to_few(const Views<Direction::forward> views, const Arguments<T> p) {
  constexpr Direction forward = Direction::forward;
  constexpr int lanes = lanes_of<T>;
  const View& view = views.view[0];
  const int thread = static_cast<int>(blockIdx.x) * threads + static_cast<int>(threadIdx.x);
  const int member = thread % team, first = thread / team * pixels;
  Row rows[pixels];
#pragma unroll
  for (int i = 0; i < pixels; ++i) rows[i] = view.row(first + i);

  float sums[pixels][N] = {};
  Inner at{};
  view.advance(at, member * lanes);
  while (view.has(at)) {
    Vector<float, lanes> weights[N];
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const bool exists = N <= 2 || n < view.columns;
      weights[n] = exists ? load_float<lanes>(p.weight + view.weight_index<forward>(at, n))
                          : Vector<float, lanes>{};
    }
#pragma unroll
    for (int i = 0; i < pixels; ++i) {
      if (!view.holds<forward>(rows[i], at)) continue;
      const auto x = load_float<lanes>(p.source + view.source_index<forward>(rows[i].pixel, at));
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (int k = 0; k < lanes; ++k) sums[i][n] += x[k] * weights[n][k];
    }
    view.advance(at, team * lanes);
  }

  Vector<float, N> mine{};
#pragma unroll
  for (int i = 0; i < pixels; ++i)
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const float sum = warp_sum<team>(sums[i][n]);
      if (i == member) mine[n] = sum;
    }
  static_assert(team == pixels);
  if (first + member < view.rows) p.output.put(first + member, 0, mine);
}

}  // namespace

void few_outputs(Gpu gpu, const ConvForward& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    for_each_launch(op, [&](const auto& views) {
      const Grid grid{static_cast<unsigned>(ceil_div(views.rows(), block_pixels)), threads};
      const Arguments<T> arguments = arguments_of<T>(op);
      switch (op.shape.c_out) {
        case 1:
          return launch<convolve_to_few<T, 1>>(gpu, grid, views, arguments);
        case 2:
          return launch<convolve_to_few<T, 2>>(gpu, grid, views, arguments);
        default:
          return launch<convolve_to_few<T, 4>>(gpu, grid, views, arguments);
      }
    });
  });
}

}  // namespace anaphase::kernels::conv_ladder
