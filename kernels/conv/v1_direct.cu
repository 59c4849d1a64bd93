// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/implicit_gemm.cuh"
#include "kernels/conv/ladder.hpp"

// The formula, one thread an element of the output.
//
// Every multiply-add loads both of its factors: 2 s bytes for elements of s bytes, from the L1
// cache at best, which hands out 128 bytes a clock to cores that could do 128 multiply-adds.
// Neighbouring threads have neighbouring output channels, so that in the forward direction they
// share the input value, but their weights lie taps * c_in elements apart: 32 cache lines a load.
// (In the gradient's direction the weights are neighbours too, and it is some times faster.)

namespace anaphase::kernels::conv_ladder {
namespace {

using namespace implicit_gemm;

constexpr int threads = 256;

template <Direction D, class T>
__global__ void __launch_bounds__(threads) direct(const Views<D> views, const Arguments<T> p) {
  const View& view = views[static_cast<int>(blockIdx.y)];
  for_each_index(static_cast<std::int64_t>(view.rows) * view.columns, [&](std::int64_t i) {
    const int r = static_cast<int>(i / view.columns), column = static_cast<int>(i % view.columns);
    const Row row = view.row(r);
    float sum = 0;
    for (Inner at{}; view.has(at); view.advance(at, 1))
      if (view.holds<D>(row, at))
        sum += static_cast<float>(p.source[view.source_index<D>(row.pixel, at)]) *
               static_cast<float>(p.weight[view.weight_index<D>(at, column)]);
    p.output.put(view.output_pixel(r), column, Vector<float, 1>{sum});
  });
}

template <class Operation>
void launch_direct(Gpu gpu, const Operation& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    for_each_launch(op, [&](const auto& views) {
      const std::int64_t elements = std::int64_t{views.rows()} * views.view[0].columns;
      dim3 blocks = blocks_for(elements, threads, 1 << 30);
      blocks.y = static_cast<unsigned>(views.count);
      launch<direct<direction_of<Operation>, T>>(gpu, {blocks, threads}, views,
                                                 arguments_of<T>(op));
    });
  });
}

}  // namespace

void v1_direct(Gpu gpu, const ConvForward& op) {
  launch_direct(gpu, op);
}

void v1_direct(Gpu gpu, const ConvInputGradient& op) {
  launch_direct(gpu, op);
}

}  // namespace anaphase::kernels::conv_ladder
