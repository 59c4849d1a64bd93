// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/parameters.cuh"
#include "kernels/group_norm/slab.cuh"

// The slab of v2 stays in registers: memory is read once and written once, 2 s bytes an element
// forward and 3 s backward, the least possible. A block of 512 threads with 16 vectors each holds
// 128 KiB (half of what a multiprocessor has in registers), in the backward pass 64 KiB of each of
// x and dy; smaller slabs take smaller blocks, of which several share a multiprocessor, so that one
// loads while another waits at a barrier. All loads of a thread are under way at once. Values stay
// packed as they were in memory and are widened where they are used. Statistics are two passes over
// registers.

namespace anaphase::kernels::group_norm {
namespace {

template <class T, int Lanes, int Run, int Threads, int Held>
__global__ void __launch_bounds__(Threads, 512 / Threads)
    on_chip_forward(GroupNormForward op, Slab slab) {
  __shared__ SharedArray<float, Threads * Lanes / Run> sums;
  __shared__ SharedArray<float, most_groups> of_group;
  const Place<Lanes, Run> place(op.shape, slab, static_cast<int>(blockIdx.x));
  const RowWalk walk(slab, place.sample * op.shape.pixels, static_cast<int>(op.shape.pixels),
                     op.shape.channels, place.row, place.channel);
  Vector<T, Lanes> x[Held];
  load_rows(walk, static_cast<const T*>(op.x), x);
  const auto visit = [&](auto&& body) {
    walk.for_each<Held>([&](int k, std::int64_t offset) {
      forget_origin(x[k]);
      body(x[k], offset);
    });
  };
  const auto statistics =
      slab_statistics<T, Threads>(op, slab, place, visit, sums.data(), of_group.data());
  store_statistics(op, place, statistics);
  normalize<T>(op, place, statistics, visit);
}

template <class T, int Lanes, int Run, int Threads, int Held>
__global__ void __launch_bounds__(Threads, 512 / Threads)
    on_chip_backward(GroupNormBackward op, Slab slab, float* of_channel) {
  __shared__ SharedArray<float, Threads * Lanes> sums;
  __shared__ SharedArray<float, 2 * most_groups> of_group;
  const Place<Lanes, Run> place(op.shape, slab, static_cast<int>(blockIdx.x));
  const RowWalk walk(slab, place.sample * op.shape.pixels, static_cast<int>(op.shape.pixels),
                     op.shape.channels, place.row, place.channel);
  Vector<T, Lanes> x[Held], dy[Held];
  load_rows(walk, static_cast<const T*>(op.x), x);
  load_rows(walk, static_cast<const T*>(op.dy), dy);
  const auto visit = [&](auto&& body) {
    walk.for_each<Held>([&](int k, std::int64_t offset) {
      forget_origin(x[k]);
      forget_origin(dy[k]);
      body(x[k], dy[k], offset);
    });
  };
  const Known<T, Lanes, Run> known(op, place);
  GradientSums<Lanes> mine;
  mine.add(op, known, visit);
  reduce_gradients<T, Threads>(
      op, slab, place, mine,
      of_channel + static_cast<std::int64_t>(2) * place.sample * op.shape.channels, sums.data(),
      of_group.data());
  differentiate(op, place, known, of_group.data(), visit);
}

/// f(threads, held), two integral constants: the blocks of tile_on_chip.
template <int Tensors, bool IsRun, class F>
void with_block(const SlabTiling& tiling, F&& f) {
  const auto with = [&]<int Threads>(std::integral_constant<int, Threads> threads) {
    f(threads, std::integral_constant<int, vectors_held(Threads, Tensors, IsRun)>{});
  };
  if (tiling.threads == 128) return with(std::integral_constant<int, 128>{});
  if (tiling.threads == 256) return with(std::integral_constant<int, 256>{});
  with(std::integral_constant<int, 512>{});
}

}  // namespace

void v3_on_chip(Gpu gpu, const GroupNormForward& op) {
  const SlabTiling tiling = *tile_on_chip(op.shape, op.type, 1);
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes_and_run<T>(tiling, [&]<class Lanes, class Run>(Lanes, Run) {
      with_block<1, Lanes::value == Run::value>(
          tiling, [&]<class Threads, class Held>(Threads, Held) {
            launch<on_chip_forward<T, Lanes::value, Run::value, Threads::value, Held::value>>(
                gpu, {blocks_of(op.shape, tiling), Threads::value}, op, slab_of(tiling));
          });
    });
  });
}

void v3_on_chip(Gpu gpu, const GroupNormBackward& op) {
  const SlabTiling tiling = *tile_on_chip(op.shape, op.type, 2);
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes_and_run<T>(tiling, [&]<class Lanes, class Run>(Lanes, Run) {
      with_block<2, Lanes::value == Run::value>(
          tiling, [&]<class Threads, class Held>(Threads, Held) {
            launch<on_chip_backward<T, Lanes::value, Run::value, Threads::value, Held::value>>(
                gpu, {blocks_of(op.shape, tiling), Threads::value}, op, slab_of(tiling),
                static_cast<float*>(op.workspace));
          });
    });
    launch_parameter_gradients<T>(gpu, op);
  });
}

}  // namespace anaphase::kernels::group_norm
