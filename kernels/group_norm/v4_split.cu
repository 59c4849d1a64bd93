// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/parameters.cuh"
#include "kernels/group_norm/slab.cuh"

// A slab's pixels are cut into chunks, for about 1024 blocks whatever the batch: one launch leaves
// each chunk's statistics, a second one merges those of its groups, in the order of the chunks, and
// computes the result. Within a chunk a thread merges the moments of what it holds in registers at
// once (Chan), so that no barrier is needed until its pixels are done.
//
// Bytes: 3 s an element forward, 5 s backward, of which the second reads come from the L2 cache as
// far as it reaches: the second launch takes its blocks in reverse, the newest first. Merging costs
// a block 8 (backward 16) bytes for each chunk and group: under 8 KiB, 1 to 5 % of its traffic.
//
// Backward, the second launch has some blocks more, which come first and make the gradients of the
// parameters beside the others' dx: two launches in all. Sums need no merging of means there, since
// mean and rstd are given.

namespace anaphase::kernels::group_norm {
namespace {

constexpr int threads = 256;
constexpr int held_forward = 8, held_backward = 4;

/// The chunks of all samples' slabs. Chunk c is pixels [c * pixels, (c + 1) * pixels).
struct Chunks {
  int count, pixels;

  /// Of block b: neighbouring blocks take neighbouring slabs of the same pixels.
  struct Of {
    int slab, chunk;
  };
  __device__ Of of(int block, int slabs) const {
    return {block / (slabs * count) * slabs + block % slabs, block / slabs % count};
  }
  __device__ int pixels_of(int chunk, std::int64_t all) const {
    return static_cast<int>(
        min(static_cast<std::int64_t>(pixels), all - static_cast<std::int64_t>(chunk) * pixels));
  }
};

Chunks chunks_of(const SlabTiling& tiling) {
  return {static_cast<int>(tiling.chunks), static_cast<int>(tiling.pixels)};
}

template <int Lanes, int Run>
__device__ RowWalk walk_chunk(const GroupNormShape& shape, const Slab& slab,
                              const Place<Lanes, Run>& place, const Chunks& chunks, int chunk) {
  return {slab,
          place.sample * shape.pixels + static_cast<std::int64_t>(chunk) * chunks.pixels,
          chunks.pixels_of(chunk, shape.pixels),
          shape.channels,
          place.row,
          place.channel};
}

/// What the first launch leaves for the second in the workspace: two floats for each group and
/// chunk, the chunks of a group side by side.
struct OfChunk {
  float first, second;
};

/// center [n, groups] and moments [n, groups, chunks]: mean, relative to the center, and square.
template <class T, int Lanes, int Run>
__global__ void __launch_bounds__(threads, 2)
    chunk_moments(GroupNormForward op, Slab slab, Chunks chunks, float* centers, OfChunk* moments) {
  constexpr int runs = Lanes / Run;
  __shared__ SharedArray<float, threads * runs> sums;
  __shared__ SharedArray<float, most_groups> of_group;
  const auto [slab_index, chunk] =
      chunks.of(static_cast<int>(blockIdx.x), op.shape.channels / (slab.vectors * Lanes));
  const Place<Lanes, Run> place(op.shape, slab, slab_index);
  float center[runs];
  load_centers<T>(op, place, center);

  Moments<runs> mine;
  for (RowWalk walk = walk_chunk(op.shape, slab, place, chunks, chunk); walk.left > 0;
       walk.advance(held_forward)) {
    Vector<T, Lanes> x[held_forward];
    load_rows(walk, static_cast<const T*>(op.x), x);
    mine.add_rows(walk, x, center);
  }

  // The moments of many sets merged at once: the mean first, then the squares relative to it.
  const float count = static_cast<float>(chunks.pixels_of(chunk, op.shape.pixels)) *
                      static_cast<float>(place.members);
  float value[runs], mean[runs];
#pragma unroll
  for (int i = 0; i < runs; ++i) value[i] = mine.count * mine.mean[i];
  group_sums<threads>(value, slab, place, sums.data(), of_group.data());
#pragma unroll
  for (int i = 0; i < runs; ++i) {
    mean[i] = of_group[place.group[i]] / count;
    const float distance = mine.mean[i] - mean[i];
    value[i] = mine.square[i] + mine.count * distance * distance;
  }
  group_sums<threads>(value, slab, place, sums.data(), of_group.data());
#pragma unroll
  for (int i = 0; i < runs; ++i) {
    if (!place.leads(i)) continue;
    const std::int64_t number = place.number(i, op.shape.groups);
    moments[number * chunks.count + chunk] = {mean[i], of_group[place.group[i]]};
    if (chunk == 0) centers[number] = center[i];
  }
}

template <class T, int Lanes, int Run>
__global__ void __launch_bounds__(threads, 2)
    split_forward(GroupNormForward op, Slab slab, Chunks chunks, const float* centers,
                  const OfChunk* moments) {
  constexpr int runs = Lanes / Run;
  __shared__ SharedArray<float, most_groups> means;
  __shared__ SharedArray<float, most_groups> variances;
  const auto [slab_index, chunk] = chunks.of(static_cast<int>(gridDim.x - 1 - blockIdx.x),
                                             op.shape.channels / (slab.vectors * Lanes));
  const Place<Lanes, Run> place(op.shape, slab, slab_index);

  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const auto members = static_cast<float>(place.members);
  const float count = static_cast<float>(op.shape.pixels) * members;
  for (int g = thread / 32; g < place.groups; g += threads / 32) {
    const std::int64_t number =
        static_cast<std::int64_t>(place.sample) * op.shape.groups + place.first_group + g;
    const OfChunk* of_chunk = moments + number * chunks.count;
    const auto count_of = [&](int k) {
      return static_cast<float>(chunks.pixels_of(k, op.shape.pixels)) * members;
    };
    float mean = 0, square = 0;
    for (int k = lane; k < chunks.count; k += 32) mean += count_of(k) * of_chunk[k].first;
    mean = warp_sum(mean) / count;
    for (int k = lane; k < chunks.count; k += 32) {
      const float distance = of_chunk[k].first - mean;
      square += of_chunk[k].second + count_of(k) * distance * distance;
    }
    square = warp_sum(square);
    if (lane == 0) {
      means[g] = mean;
      variances[g] = square / count;
    }
  }
  __syncthreads();
  Statistics<runs> statistics;
#pragma unroll
  for (int i = 0; i < runs; ++i) {
    statistics.set_mean(i, centers[place.number(i, op.shape.groups)], means[place.group[i]]);
    statistics.set_variance(i, variances[place.group[i]], op.epsilon);
  }
  if (chunk == 0) store_statistics(op, place, statistics);

  normalize<T>(op, place, statistics, [&, chunk = chunk](auto&& body) {
    for (RowWalk walk = walk_chunk(op.shape, slab, place, chunks, chunk); walk.left > 0;
         walk.advance(held_forward)) {
      Vector<T, Lanes> x[held_forward];
      load_rows(walk, static_cast<const T*>(op.x), x);
      walk.for_each<held_forward>([&](int k, std::int64_t offset) { body(x[k], offset); });
    }
  });
}

/// visit(body) for x and dy of a thread's pixels of a chunk.
template <class T, int Lanes, class Body>
__device__ void visit_chunk(const GroupNormBackward& op, RowWalk walk, Body&& body) {
  for (; walk.left > 0; walk.advance(held_backward)) {
    Vector<T, Lanes> x[held_backward], dy[held_backward];
    load_rows(walk, static_cast<const T*>(op.x), x);
    load_rows(walk, static_cast<const T*>(op.dy), dy);
    walk.for_each<held_backward>([&](int k, std::int64_t offset) { body(x[k], dy[k], offset); });
  }
}

/// of_channel [n * chunks, 2, channels] and of_group [n, groups, chunks]: sums of the gradient and
/// of its product with the normalised value, for the groups weighted by channel.
template <class T, int Lanes, int Run>
__global__ void __launch_bounds__(threads, 2)
    chunk_gradients(GroupNormBackward op, Slab slab, Chunks chunks, float* of_channel,
                    OfChunk* of_group) {
  __shared__ SharedArray<float, threads * Lanes> sums;
  __shared__ SharedArray<float, 2 * most_groups> slab_sums;
  const auto [slab_index, chunk] =
      chunks.of(static_cast<int>(blockIdx.x), op.shape.channels / (slab.vectors * Lanes));
  const Place<Lanes, Run> place(op.shape, slab, slab_index);
  const Known<T, Lanes, Run> known(op, place);
  const RowWalk walk = walk_chunk(op.shape, slab, place, chunks, chunk);
  GradientSums<Lanes> mine;
  mine.add(op, known, [&](auto&& body) { visit_chunk<T, Lanes>(op, walk, body); });
  const std::int64_t row = static_cast<std::int64_t>(place.sample) * chunks.count + chunk;
  reduce_gradients<T, threads>(op, slab, place, mine, of_channel + 2 * row * op.shape.channels,
                               sums.data(), slab_sums.data());
  const int g = static_cast<int>(threadIdx.x);
  if (g >= place.groups) return;
  const std::int64_t number =
      static_cast<std::int64_t>(place.sample) * op.shape.groups + place.first_group + g;
  of_group[number * chunks.count + chunk] = {slab_sums[g], slab_sums[most_groups + g]};
}

template <class T, int Lanes, int Run>
__global__ void __launch_bounds__(threads, 2)
    split_backward(GroupNormBackward op, Slab slab, Chunks chunks, const float* of_channel,
                   const OfChunk* of_group, int blocks_of_parameters) {
  if (static_cast<int>(blockIdx.x) < blocks_of_parameters)
    return parameter_gradients<T>(op, of_channel, chunks.count, static_cast<int>(blockIdx.x));
  __shared__ SharedArray<float, 2 * most_groups> slab_sums;
  const auto [slab_index, chunk] = chunks.of(static_cast<int>(gridDim.x - 1 - blockIdx.x),
                                             op.shape.channels / (slab.vectors * Lanes));
  const Place<Lanes, Run> place(op.shape, slab, slab_index);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  for (int g = thread / 32; g < place.groups; g += threads / 32) {
    const std::int64_t number =
        static_cast<std::int64_t>(place.sample) * op.shape.groups + place.first_group + g;
    float first = 0, second = 0;
    for (int k = lane; k < chunks.count; k += 32) {
      const OfChunk of_chunk = of_group[number * chunks.count + k];
      first += of_chunk.first;
      second += of_chunk.second;
    }
    first = warp_sum(first);
    second = warp_sum(second);
    if (lane == 0) {
      slab_sums[g] = first;
      slab_sums[most_groups + g] = second;
    }
  }
  __syncthreads();
  const Known<T, Lanes, Run> known(op, place);
  const RowWalk walk = walk_chunk(op.shape, slab, place, chunks, chunk);
  differentiate(op, place, known, slab_sums.data(),
                [&](auto&& body) { visit_chunk<T, Lanes>(op, walk, body); });
}

}  // namespace

void v4_split(Gpu gpu, const GroupNormForward& op) {
  const SlabTiling tiling = *tile_split(op.shape, op.type, 1);
  const Chunks chunks = chunks_of(tiling);
  auto* centers = static_cast<float*>(op.workspace);
  auto* moments =
      reinterpret_cast<OfChunk*>(centers + static_cast<std::int64_t>(op.shape.n) * op.shape.groups);
  const dim3 blocks = blocks_of(op.shape, tiling);
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes_and_run<T>(tiling, [&]<class Lanes, class Run>(Lanes, Run) {
      launch<chunk_moments<T, Lanes::value, Run::value>>(gpu, {blocks, threads}, op,
                                                         slab_of(tiling), chunks, centers, moments);
      launch<split_forward<T, Lanes::value, Run::value>>(gpu, {blocks, threads}, op,
                                                         slab_of(tiling), chunks, centers, moments);
    });
  });
}

void v4_split(Gpu gpu, const GroupNormBackward& op) {
  const SlabTiling tiling = *tile_split(op.shape, op.type, 2);
  const Chunks chunks = chunks_of(tiling);
  auto* of_channel = static_cast<float*>(op.workspace);
  auto* of_group =
      reinterpret_cast<OfChunk*>(of_channel + op.shape.n * tiling.chunks * 2 * op.shape.channels);
  const dim3 blocks = blocks_of(op.shape, tiling);
  const int more = parameter_blocks(op);
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes_and_run<T>(tiling, [&]<class Lanes, class Run>(Lanes, Run) {
      launch<chunk_gradients<T, Lanes::value, Run::value>>(
          gpu, {blocks, threads}, op, slab_of(tiling), chunks, of_channel, of_group);
      launch<split_backward<T, Lanes::value, Run::value>>(gpu, {dim3(blocks.x + more), threads}, op,
                                                          slab_of(tiling), chunks, of_channel,
                                                          of_group, more);
    });
  });
}

}  // namespace anaphase::kernels::group_norm
