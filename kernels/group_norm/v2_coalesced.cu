// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/parameters.cuh"
#include "kernels/group_norm/slab.cuh"

// A block takes a slab of neighbouring groups, 64 bytes or more of every pixel, and each thread one
// vector of 16 bytes of some pixels: what memory hands out at once is used whole, with an eighth of
// the load instructions (bf16), and a thread keeps its channels' parameters in registers. Each
// thread sums over its pixels; one sum over the rows of threads then serves all groups of the slab.
// The passes over memory stay three: 4 s bytes an element forward, 5 s backward (one pass for the
// sums of all channels, one for dx), against 2 s and 3 s.

namespace anaphase::kernels::group_norm {
namespace {

constexpr int threads = 256;

/// The vectors of a thread's pixels, from memory each time they are visited.
template <class T, int Lanes, int Run>
struct FromMemory {
  RowWalk walk;
  const T *x, *dy;

  __device__ FromMemory(const GroupNormShape& shape, const Slab& slab,
                        const Place<Lanes, Run>& place, const void* x_, const void* dy_)
      : walk(slab, place.sample * shape.pixels, static_cast<int>(shape.pixels), shape.channels,
             place.row, place.channel),
        x(static_cast<const T*>(x_)),
        dy(static_cast<const T*>(dy_)) {}

  template <class Body>
  __device__ void operator()(Body&& body) const {
    for (RowWalk at = walk; at.left > 0; at.advance(1)) {
      if constexpr (requires { body(load<Lanes>(x), load<Lanes>(dy), at.offset); })
        body(load<Lanes>(x + at.offset), load<Lanes>(dy + at.offset), at.offset);
      else
        body(load<Lanes>(x + at.offset), at.offset);
    }
  }
};

template <class T, int Lanes, int Run>
__global__ void __launch_bounds__(threads) coalesced_forward(GroupNormForward op, Slab slab) {
  __shared__ SharedArray<float, threads * Lanes / Run> sums;
  __shared__ SharedArray<float, most_groups> of_group;
  const Place<Lanes, Run> place(op.shape, slab, static_cast<int>(blockIdx.x));
  const FromMemory<T, Lanes, Run> visit(op.shape, slab, place, op.x, nullptr);
  const auto statistics =
      slab_statistics<T, threads>(op, slab, place, visit, sums.data(), of_group.data());
  store_statistics(op, place, statistics);
  normalize<T>(op, place, statistics, visit);
}

template <class T, int Lanes, int Run>
__global__ void __launch_bounds__(threads, 2)
    coalesced_backward(GroupNormBackward op, Slab slab, float* of_channel) {
  __shared__ SharedArray<float, threads * Lanes> sums;
  __shared__ SharedArray<float, 2 * most_groups> of_group;
  const Place<Lanes, Run> place(op.shape, slab, static_cast<int>(blockIdx.x));
  const FromMemory<T, Lanes, Run> visit(op.shape, slab, place, op.x, op.dy);
  const Known<T, Lanes, Run> known(op, place);
  GradientSums<Lanes> mine;
  mine.add(op, known, visit);
  reduce_gradients<T, threads>(
      op, slab, place, mine,
      of_channel + static_cast<std::int64_t>(2) * place.sample * op.shape.channels, sums.data(),
      of_group.data());
  differentiate(op, place, known, of_group.data(), visit);
}

}  // namespace

void v2_coalesced(Gpu gpu, const GroupNormForward& op) {
  const SlabTiling tiling = *tile_whole(op.shape, op.type);
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes_and_run<T>(tiling, [&]<class Lanes, class Run>(Lanes, Run) {
      launch<coalesced_forward<T, Lanes::value, Run::value>>(
          gpu, {blocks_of(op.shape, tiling), threads}, op, slab_of(tiling));
    });
  });
}

void v2_coalesced(Gpu gpu, const GroupNormBackward& op) {
  const SlabTiling tiling = *tile_whole(op.shape, op.type);
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes_and_run<T>(tiling, [&]<class Lanes, class Run>(Lanes, Run) {
      launch<coalesced_backward<T, Lanes::value, Run::value>>(
          gpu, {blocks_of(op.shape, tiling), threads}, op, slab_of(tiling),
          static_cast<float*>(op.workspace));
    });
    launch_parameter_gradients<T>(gpu, op);
  });
}

}  // namespace anaphase::kernels::group_norm
