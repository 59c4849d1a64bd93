// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm.hpp"

#include "kernels/common/gpu/normalize.cuh"

// Batch norm over rows of channels, each direction in two launches: chunks of rows leave what they
// know of each channel (forward: mean and squared deviations, backward: the two sums), and then
// each block merges the chunks of its channels, in their order, and computes the result. Outside
// training the forward pass is the second launch alone.
//
// Bytes: 3 s an element of s bytes forward (two reads, one write) and 5 s backward; a batch's
// statistics need all of it, so that 2 s and 3 s would take a GPU that holds the tensor on chip.
// The second launch takes its blocks in reverse, so that its reads come from the L2 cache as far as
// that reaches. A block takes up to 128 bytes of each row (kernels/common/gpu/normalize.cuh: a
// thread one 16-byte vector, and always the same channels) and holds a tile of 8 vectors a thread,
// 32 KiB, or 4 of each of x and dy; two blocks or more on a multiprocessor keep 64 KiB under way,
// three times what its latency asks for. About 256 blocks: fewer would leave multiprocessors idle,
// more would spend more on merging (8 bytes a channel and chunk for each block; 6 % of a block's
// traffic for 262144 rows of 64 channels).
//
// Statistics are two-pass within a tile, in registers, and merged from there on (Chan). A mean is
// the sum of two floats, so that a large common offset costs no precision.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256;
constexpr int held_forward = 8, held_backward = 4;
constexpr int most_channels = 64;  // of a slab: 128 bytes of bf16

/// How the work is cut up: a function of the sizes alone.
struct Tiling {
  Slab slab;
  int slabs, chunks, channels;
  std::int64_t rows, chunk_rows;

  Tiling(std::int64_t all_rows, int all_channels, int lanes, std::size_t size, int held)
      : channels(all_channels), rows(all_rows) {
    constexpr int blocks = 256;
    const int vectors = channels / lanes, most = 128 / static_cast<int>(size) / lanes;
    slabs = ceil_div(vectors, most);
    slab.vectors = ceil_div(vectors, slabs);
    slab.rows = threads / slab.vectors;
    const std::int64_t tile = static_cast<std::int64_t>(slab.rows) * held;
    const std::int64_t tiles = ceil_div(rows, tile);
    chunk_rows = ceil_div(tiles, std::clamp<std::int64_t>(blocks / slabs, 1, tiles)) * tile;
    chunks = static_cast<int>(ceil_div(rows, chunk_rows));
  }

  dim3 blocks() const { return dim3(static_cast<unsigned>(slabs * chunks)); }

  __device__ int rows_of(int chunk) const {
    return static_cast<int>(min(chunk_rows, rows - chunk * chunk_rows));
  }
};

template <class Operation>
Tiling tiling_of(const Operation& op, int held) {
  const std::size_t size = size_of(op.type);
  const int wide = static_cast<int>(16 / size);
  return {op.rows, op.channels, op.channels % wide == 0 ? wide : 1, size, held};
}

/// Where a thread stands: in chunk `chunk`, with Lanes channels from `channel` on.
template <int Lanes>
struct Place {
  int chunk, first_channel;  // of the block
  int lane, channel;         // of the thread, in the slab and in all
  bool exists;               // whether there are such channels: the last slab may be narrower
  RowWalk walk;

  __device__ Place(const Tiling& tiling, int block)
      : chunk(block / tiling.slabs),
        first_channel(block % tiling.slabs * tiling.slab.vectors * Lanes),
        lane(static_cast<int>(threadIdx.x) % tiling.slab.vectors * Lanes),
        channel(first_channel + lane),
        exists(channel < tiling.channels),
        walk(tiling.slab, chunk * tiling.chunk_rows, exists ? tiling.rows_of(chunk) : 0,
             tiling.channels, static_cast<int>(threadIdx.x) / tiling.slab.vectors, channel) {}
};

/// body(c in the slab, c) for the channels of the block's slab, one a thread: a slab has no more
/// channels than a block has threads.
template <int Lanes, class Body>
__device__ void for_own_channel(const Tiling& tiling, const Place<Lanes>& place, Body&& body) {
  const int c = static_cast<int>(threadIdx.x);
  if (c < tiling.slab.vectors * Lanes && place.first_channel + c < tiling.channels)
    body(c, place.first_channel + c);
}

/// body(c in the slab, c, chunk) for the chunks of a channel that the thread merges: every
/// slices-th, where the threads stand as `slices` rows over the channels of the slab.
template <int Lanes, class Body>
__device__ void for_each_chunk(const Tiling& tiling, const Place<Lanes>& place, Body&& body) {
  const int width = tiling.slab.vectors * Lanes, slices = threads / width;
  const int slice = static_cast<int>(threadIdx.x) / width;
  const int c = static_cast<int>(threadIdx.x) % width;
  if (slice >= slices || place.first_channel + c >= tiling.channels) return;
  for (int chunk = slice; chunk < tiling.chunks; chunk += slices)
    body(place.first_channel + c, chunk);
}

/// What follows the affine map: u where it is positive, else `leak` * u.
struct Rectifier {
  float leak;

  Rectifier(Activation activation, float slope)
      : leak(activation == Activation::none   ? 1.0F
             : activation == Activation::relu ? 0.0F
                                              : slope) {}
  /// Never -0, by the sum.
  __device__ float of(float u) const { return u > 0 ? u : leak * u + 0.0F; }
  __device__ float gradient(float u, float dy) const { return u > 0 ? dy : leak * dy; }
};

/// N floats of a channel parameter or of shared memory.
template <int Lanes>
__device__ Vector<float, Lanes> lanes_at(const float* values) {
  Vector<float, Lanes> lanes;
#pragma unroll
  for (int l = 0; l < Lanes; ++l) lanes[l] = values[l];
  return lanes;
}

/// centers [channels], the first row, and moments [chunks, (mean relative to it, square),
/// channels].
template <class T, int Lanes>
__global__ void __launch_bounds__(threads, 2)
    batch_norm_moments(BatchNormForward op, Tiling tiling, float* centers, float* moments) {
  __shared__ SharedArray<float, threads * Lanes> shared_sums;
  float* sums = shared_sums.data();
  Place<Lanes> place(tiling, static_cast<int>(blockIdx.x));
  const auto* x = static_cast<const T*>(op.x);
  float center[Lanes] = {};
  if (place.exists)
#pragma unroll
    for (int l = 0; l < Lanes; ++l) center[l] = static_cast<float>(x[place.channel + l]);

  Moments<Lanes> mine;
  for (RowWalk& walk = place.walk; walk.left > 0; walk.advance(held_forward)) {
    Vector<T, Lanes> held[held_forward];
    load_rows(walk, x, held);
    mine.add_rows(walk, held, center);
  }

  // The moments of all rows of threads merged at once: the mean first, then the squares.
  const auto count = static_cast<float>(tiling.rows_of(place.chunk));
  float* of_chunk = moments + static_cast<std::int64_t>(2) * place.chunk * tiling.channels;
  float value[Lanes];
#pragma unroll
  for (int l = 0; l < Lanes; ++l) value[l] = mine.count * mine.mean[l];
  column_sums<threads>(value, tiling.slab, sums);
  for_own_channel(tiling, place, [&](int i, int c) { of_chunk[c] = sums[i] / count; });
#pragma unroll
  for (int l = 0; l < Lanes; ++l) {
    const float distance = mine.mean[l] - sums[place.lane + l] / count;
    value[l] = mine.square[l] + mine.count * distance * distance;
  }
  __syncthreads();
  column_sums<threads>(value, tiling.slab, sums);
  for_own_channel(tiling, place, [&](int i, int c) {
    of_chunk[tiling.channels + c] = sums[i];
    if (place.chunk == 0) centers[c] = static_cast<float>(x[c]);
  });
}

/// A channel's mean as the sum of two floats, and its biased variance.
struct ChannelStatistics {
  float mean, rest, variance;
};

/// What the first launch found of the batch: `slices` holds 3 * threads floats.
template <int Lanes>
__device__ ChannelStatistics merge_moments(const Tiling& tiling, const Place<Lanes>& place,
                                           const float* centers, const float* moments,
                                           float* slices) {
  const int thread = static_cast<int>(threadIdx.x), width = tiling.slab.vectors * Lanes;
  Moments<1> mine;
  for_each_chunk(tiling, place, [&](int c, int chunk) {
    const float* of_chunk = moments + static_cast<std::int64_t>(2) * chunk * tiling.channels + c;
    mine.merge(static_cast<float>(tiling.rows_of(chunk)), {of_chunk[0]},
               {of_chunk[tiling.channels]});
  });
  slices[thread] = mine.count;
  slices[threads + thread] = mine.mean[0];
  slices[2 * threads + thread] = mine.square[0];
  __syncthreads();
  ChannelStatistics statistics{};
  for_own_channel(tiling, place, [&](int i, int c) {
    for (int slice = i + width; slice < threads / width * width; slice += width)
      if (slices[slice] > 0)
        mine.merge(slices[slice], {slices[threads + slice]}, {slices[2 * threads + slice]});
    const float center = centers[c], mean = center + mine.mean[0];
    statistics = {mean, mine.mean[0] - (mean - center), mine.square[0] / mine.count};
  });
  return statistics;
}

__device__ void update_running(const BatchNormForward& op, int c,
                               const ChannelStatistics& statistics) {
  auto* mean = static_cast<float*>(op.running_mean);
  auto* variance = static_cast<float*>(op.running_variance);
  const auto rows = static_cast<float>(op.rows);
  const float unbiased =
      op.rows > 1 ? statistics.variance * (rows / (rows - 1)) : statistics.variance;
  mean[c] = (1 - op.momentum) * mean[c] + op.momentum * statistics.mean;
  variance[c] = (1 - op.momentum) * variance[c] + op.momentum * unbiased;
}

template <class T, int Lanes>
__global__ void __launch_bounds__(threads, 2)
    batch_norm_forward(BatchNormForward op, Tiling tiling, Rectifier rectifier,
                       const float* centers, const float* moments) {
  __shared__ SharedArray<float, 3 * threads> slices;
  __shared__ SharedArray<float, 3 * most_channels> coefficients;
  float *of_mean = coefficients.data(), *of_factor = of_mean + most_channels,
        *of_term = of_factor + most_channels;
  Place<Lanes> place(tiling, static_cast<int>(gridDim.x - 1 - blockIdx.x));
  ChannelStatistics statistics{};
  if (op.training) statistics = merge_moments(tiling, place, centers, moments, slices.data());
  for_own_channel(tiling, place, [&](int i, int c) {
    if (!op.training)
      statistics = {static_cast<const float*>(op.running_mean)[c], 0,
                    static_cast<const float*>(op.running_variance)[c]};
    const float rstd = 1 / sqrtf(statistics.variance + op.epsilon);
    const float factor = rstd * static_cast<const float*>(op.gamma)[c];
    of_mean[i] = statistics.mean;
    of_factor[i] = factor;
    of_term[i] = static_cast<const float*>(op.beta)[c] - statistics.rest * factor;
    if (place.chunk > 0) return;
    static_cast<float*>(op.mean)[c] = statistics.mean;
    static_cast<float*>(op.rstd)[c] = rstd;
    if (op.training) update_running(op, c, statistics);
  });
  __syncthreads();
  if (!place.exists) return;
  const auto mean = lanes_at<Lanes>(of_mean + place.lane),
             factor = lanes_at<Lanes>(of_factor + place.lane),
             term = lanes_at<Lanes>(of_term + place.lane);
  for (RowWalk& walk = place.walk; walk.left > 0; walk.advance(held_forward)) {
    Vector<T, Lanes> x[held_forward];
    load_rows(walk, static_cast<const T*>(op.x), x);
    walk.for_each<held_forward>([&](int k, std::int64_t offset) {
      Vector<float, Lanes> y;
#pragma unroll
      for (int l = 0; l < Lanes; ++l)
        y[l] = rectifier.of((static_cast<float>(x[k][l]) - mean[l]) * factor[l] + term[l]);
      store_float(static_cast<T*>(op.y) + offset, y);
    });
  }
}

/// A thread's channels in the backward pass.
template <int Lanes>
struct Known {
  Vector<float, Lanes> mean, rstd, gamma, beta;

  __device__ Known(const BatchNormBackward& op, int channel)
      : mean(load<Lanes>(static_cast<const float*>(op.mean) + channel)),
        rstd(load<Lanes>(static_cast<const float*>(op.rstd) + channel)),
        gamma(load<Lanes>(static_cast<const float*>(op.gamma) + channel)),
        beta(load<Lanes>(static_cast<const float*>(op.beta) + channel)) {}

  template <class T>
  __device__ float normal(int l, T x) const {
    return (static_cast<float>(x) - mean[l]) * rstd[l];
  }
  /// The gradient at the rectifier's argument.
  template <class T>
  __device__ float gradient(int l, float normal, T dy, const Rectifier& rectifier) const {
    return rectifier.gradient(normal * gamma[l] + beta[l], static_cast<float>(dy));
  }
};

/// body(x, dy, offset) for a thread's vectors of a chunk.
template <class T, int Lanes, class Body>
__device__ void for_each_pair(const BatchNormBackward& op, RowWalk walk, Body&& body) {
  for (; walk.left > 0; walk.advance(held_backward)) {
    Vector<T, Lanes> x[held_backward], dy[held_backward];
    load_rows(walk, static_cast<const T*>(op.x), x);
    load_rows(walk, static_cast<const T*>(op.dy), dy);
    walk.for_each<held_backward>([&](int k, std::int64_t offset) { body(x[k], dy[k], offset); });
  }
}

/// sums [chunks, 2, channels]: of the gradient at the rectifier's argument, and of its product with
/// the normalised value.
template <class T, int Lanes>
__global__ void __launch_bounds__(threads, 2)
    batch_norm_gradient_sums(BatchNormBackward op, Tiling tiling, Rectifier rectifier,
                             float* sums) {
  __shared__ SharedArray<float, threads * Lanes> columns;
  const Place<Lanes> place(tiling, static_cast<int>(blockIdx.x));
  float sum[2][Lanes] = {};
  if (place.exists) {
    const Known<Lanes> known(op, place.channel);
    for_each_pair<T, Lanes>(
        op, place.walk, [&](const Vector<T, Lanes>& x, const Vector<T, Lanes>& dy, std::int64_t) {
#pragma unroll
          for (int l = 0; l < Lanes; ++l) {
            const float normal = known.normal(l, x[l]);
            const float du = known.gradient(l, normal, dy[l], rectifier);
            sum[0][l] += du;
            sum[1][l] += du * normal;
          }
        });
  }
#pragma unroll
  for (int which = 0; which < 2; ++which) {
    column_sums<threads>(sum[which], tiling.slab, columns.data());
    const std::int64_t row = static_cast<std::int64_t>(2) * place.chunk + which;
    for_own_channel(tiling, place,
                    [&](int i, int c) { sums[row * tiling.channels + c] = columns[i]; });
    __syncthreads();
  }
}

template <class T, int Lanes>
__global__ void __launch_bounds__(threads, 2)
    batch_norm_backward(BatchNormBackward op, Tiling tiling, Rectifier rectifier,
                        const float* sums) {
  __shared__ SharedArray<float, 2 * threads> slices;
  __shared__ SharedArray<float, 2 * most_channels> means;
  const Place<Lanes> place(tiling, static_cast<int>(gridDim.x - 1 - blockIdx.x));
  const int thread = static_cast<int>(threadIdx.x), width = tiling.slab.vectors * Lanes;
  float du = 0, du_normal = 0;
  for_each_chunk(tiling, place, [&](int c, int chunk) {
    const float* of_chunk = sums + static_cast<std::int64_t>(2) * chunk * tiling.channels + c;
    du += of_chunk[0];
    du_normal += of_chunk[tiling.channels];
  });
  slices[thread] = du;
  slices[threads + thread] = du_normal;
  __syncthreads();
  for_own_channel(tiling, place, [&](int i, int c) {
    for (int slice = i + width; slice < threads / width * width; slice += width) {
      du += slices[slice];
      du_normal += slices[threads + slice];
    }
    // With constant statistics x does not act through them.
    const float share = op.training ? 1 / static_cast<float>(op.rows) : 0.0F;
    means[i] = du * share;
    means[most_channels + i] = du_normal * share;
    if (place.chunk > 0) return;
    static_cast<float*>(op.dbeta)[c] = du;
    static_cast<float*>(op.dgamma)[c] = du_normal;
  });
  __syncthreads();
  if (!place.exists) return;
  const Known<Lanes> known(op, place.channel);
  const auto mean_du = lanes_at<Lanes>(means.data() + place.lane),
             mean_du_normal = lanes_at<Lanes>(means.data() + most_channels + place.lane);
  for_each_pair<T, Lanes>(
      op, place.walk,
      [&](const Vector<T, Lanes>& x, const Vector<T, Lanes>& dy, std::int64_t offset) {
        Vector<float, Lanes> dx;
#pragma unroll
        for (int l = 0; l < Lanes; ++l) {
          const float normal = known.normal(l, x[l]);
          const float gradient = known.gradient(l, normal, dy[l], rectifier);
          dx[l] =
              known.rstd[l] * known.gamma[l] * (gradient - mean_du[l] - normal * mean_du_normal[l]);
        }
        store_float(static_cast<T*>(op.dx) + offset, dx);
      });
}

}  // namespace

std::size_t workspace_bytes(Gpu, const BatchNormForward& op) {
  if (!op.training) return 0;
  const std::size_t rows = 1 + 2 * tiling_of(op, held_forward).chunks;
  return rows * op.channels * sizeof(float);
}

void run(Gpu gpu, const BatchNormForward& op) {
  const Tiling tiling = tiling_of(op, held_forward);
  const Rectifier rectifier(op.activation, op.slope);
  auto* centers = static_cast<float*>(op.workspace);
  float* moments = centers + op.channels;
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.channels, [&]<class Lanes>(Lanes) {
      if (op.training)
        launch<batch_norm_moments<T, Lanes::value>>(gpu, {tiling.blocks(), threads}, op, tiling,
                                                    centers, moments);
      launch<batch_norm_forward<T, Lanes::value>>(gpu, {tiling.blocks(), threads}, op, tiling,
                                                  rectifier, centers, moments);
    });
  });
}

std::size_t workspace_bytes(Gpu, const BatchNormBackward& op) {
  return static_cast<std::size_t>(tiling_of(op, held_backward).chunks) * 2 * op.channels *
         sizeof(float);
}

void run(Gpu gpu, const BatchNormBackward& op) {
  const Tiling tiling = tiling_of(op, held_backward);
  const Rectifier rectifier(op.activation, op.slope);
  auto* sums = static_cast<float*>(op.workspace);
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.channels, [&]<class Lanes>(Lanes) {
      launch<batch_norm_gradient_sums<T, Lanes::value>>(gpu, {tiling.blocks(), threads}, op, tiling,
                                                        rectifier, sums);
      launch<batch_norm_backward<T, Lanes::value>>(gpu, {tiling.blocks(), threads}, op, tiling,
                                                   rectifier, sums);
    });
  });
}

}  // namespace anaphase::kernels
