// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm.hpp"

#include "kernels/common/gpu/activation.cuh"
#include "kernels/common/gpu/normalize.cuh"

// y = f((x - mean) rstd gamma + beta) with statistics over all rows, and its gradient.
//
// Bytes an element of s bytes: forward in training 3 s (x for the moments, x and y), backward 5 s
// (x and dy for the sums, x, dy and dx); the least possible is 2 s and 3 s, but the statistics of a
// channel need all rows before the first is written, and a tensor that does not fit the L2 cache is
// read twice. In inference 2 s. Operations: 10 to 20 an element, so memory is the bound: a thread
// keeps its channels, holds four vectors of 16 bytes at once and reads next to its neighbours
// (kernels/common/gpu/normalize.cuh). Rows are cut into chunks, a block each, for up to 512 blocks;
// a second kernel merges the chunks of a channel with one warp, in fixed order. Moments are merged
// from deviations (Chan, Golub and LeVeque), never from sums of squares.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256;
constexpr int held = 4;  // vectors that a thread loads at once

/// How a tensor [rows, channels] is cut: slabs of channels, chunks of rows.
struct Tiling {
  std::int64_t rows;
  int channels;
  Slab slab;
  int slabs;
  int rows_each;  // of a chunk
  int chunks;
};

template <int Lanes>
Tiling tile(std::int64_t rows, int channels) {
  constexpr int most_vectors = 64, most_blocks = 512;
  const int total = channels / Lanes;
  int vectors = total < most_vectors ? total : most_vectors;
  while (total % vectors != 0) --vectors;
  Tiling tiling{rows, channels, {vectors, threads / vectors}, total / vectors, 0, 0};
  const int least = 2 * held * tiling.slab.rows;
  const std::int64_t wanted =
      ceil_div<std::int64_t>(rows, tiling.slabs < most_blocks ? most_blocks / tiling.slabs : 1);
  tiling.rows_each = static_cast<int>(wanted < least ? least : wanted);
  tiling.chunks = static_cast<int>(ceil_div<std::int64_t>(rows, tiling.rows_each));
  return tiling;
}

Grid grid_of(const Tiling& tiling) {
  return {dim3(static_cast<unsigned>(tiling.chunks * tiling.slabs)), threads};
}

/// Where a thread stands in a grid of chunks and slabs.
template <int Lanes>
struct Place {
  int chunk, row, vector, channel, count;  // count: rows of the chunk

  __device__ explicit Place(const Tiling& t) {
    const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
    chunk = block / t.slabs;
    row = thread / t.slab.vectors;
    vector = thread % t.slab.vectors;
    channel = (block % t.slabs * t.slab.vectors + vector) * Lanes;
    const std::int64_t left = t.rows - static_cast<std::int64_t>(chunk) * t.rows_each;
    count = left < t.rows_each ? static_cast<int>(left) : t.rows_each;
  }
  __device__ RowWalk walk(const Tiling& t) const {
    return {t.slab, static_cast<std::int64_t>(chunk) * t.rows_each, count, t.channels, row,
            channel};
  }
};

/// The chunk's part of `partial` [chunks][2][channels].
template <int Lanes>
__device__ void store_partial(const Place<Lanes>& place, const Tiling& t, int which,
                              const float* value, float* partial) {
#pragma unroll
  for (int i = 0; i < Lanes; ++i)
    partial[(static_cast<std::int64_t>(place.chunk) * 2 + which) * t.channels + place.channel + i] =
        value[i];
}

/// partial: mean, and sum of squared deviations from it, of each chunk and channel. Means are
/// distances from the channel's first value, so that an offset common to all values costs nothing.
template <class T, int Lanes>
__global__ void __launch_bounds__(threads)
    batch_norm_moments(Tiling t, const T* x, float* partial) {
  __shared__ SharedArray<float, threads * Lanes> sums;
  const Place<Lanes> place(t);
  const Vector<float, Lanes> center = load_float<Lanes>(x + place.channel);
  Moments<Lanes> mine;
  for (RowWalk walk = place.walk(t); walk.left > 0; walk.advance(held)) {
    Vector<T, Lanes> v[held];
    load_rows(walk, x, v);
    float n = 0, mean[Lanes] = {}, square[Lanes] = {};
    walk.for_each<held>([&](int k, std::int64_t) {
      n += 1;
#pragma unroll
      for (int i = 0; i < Lanes; ++i) mean[i] += static_cast<float>(v[k][i]) - center[i];
    });
#pragma unroll
    for (int i = 0; i < Lanes; ++i) mean[i] /= n;
    walk.for_each<held>([&](int k, std::int64_t) {
#pragma unroll
      for (int i = 0; i < Lanes; ++i) {
        const float deviation = static_cast<float>(v[k][i]) - center[i] - mean[i];
        square[i] += deviation * deviation;
      }
    });
    mine.merge(n, mean, square);
  }
  float value[Lanes], mean[Lanes];
#pragma unroll
  for (int i = 0; i < Lanes; ++i)
    value[i] = mine.mean[i] * (mine.count / static_cast<float>(place.count));
  column_sums<threads>(value, t.slab, sums.data());
#pragma unroll
  for (int i = 0; i < Lanes; ++i) {
    mean[i] = sums[place.vector * Lanes + i];
    const float distance = mine.mean[i] - mean[i];
    value[i] = mine.square[i] + mine.count * distance * distance;
  }
  __syncthreads();
  column_sums<threads>(value, t.slab, sums.data());
  if (place.row > 0) return;
  store_partial<Lanes>(place, t, 0, mean, partial);
  store_partial<Lanes>(place, t, 1, sums.data() + place.vector * Lanes, partial);
}

/// Merges the chunks of each channel, a warp a channel. rest: what the mean loses as a float.
template <class T>
__global__ void __launch_bounds__(threads)
    batch_norm_statistics(BatchNormForward op, Tiling t, const float* partial, float* rest) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int channel =
      static_cast<int>(blockIdx.x) * (threads / 32) + static_cast<int>(threadIdx.x) / 32;
  if (channel >= t.channels) return;
  Moments<1> all;
  for (int chunk = lane; chunk < t.chunks; chunk += 32) {
    const float* of_chunk = partial + static_cast<std::int64_t>(chunk) * 2 * t.channels + channel;
    const std::int64_t left = t.rows - static_cast<std::int64_t>(chunk) * t.rows_each;
    const float mean[1] = {of_chunk[0]}, square[1] = {of_chunk[t.channels]};
    all.merge(static_cast<float>(left < t.rows_each ? left : t.rows_each), mean, square);
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    const float n = __shfl_down_sync(all_lanes, all.count, distance);
    const float mean[1] = {__shfl_down_sync(all_lanes, all.mean[0], distance)};
    const float square[1] = {__shfl_down_sync(all_lanes, all.square[0], distance)};
    if (lane < distance && n > 0) all.merge(n, mean, square);
  }
  if (lane > 0) return;
  const auto rows = static_cast<float>(t.rows);
  const float variance = all.square[0] / rows;
  const auto center = static_cast<float>(static_cast<const T*>(op.x)[channel]);
  const float mean = center + all.mean[0];
  rest[channel] = all.mean[0] - (mean - center);
  static_cast<float*>(op.mean)[channel] = mean;
  static_cast<float*>(op.rstd)[channel] = 1 / sqrtf(variance + op.epsilon);
  const auto move = [&](void* running, float value) {
    float* of_channel = static_cast<float*>(running) + channel;
    *of_channel = (1 - op.momentum) * *of_channel + op.momentum * value;
  };
  move(op.running_mean, mean);
  move(op.running_variance, t.rows > 1 ? all.square[0] / (rows - 1) : variance);
}

/// Inference: the running statistics are the statistics.
__global__ void __launch_bounds__(threads) batch_norm_constants(BatchNormForward op, float* rest) {
  for_each_index(op.channels, [&](std::int64_t c) {
    rest[c] = 0;
    static_cast<float*>(op.mean)[c] = static_cast<const float*>(op.running_mean)[c];
    static_cast<float*>(op.rstd)[c] =
        1 / sqrtf(static_cast<const float*>(op.running_variance)[c] + op.epsilon);
  });
}

/// A thread's channels: n = (x - mean) rstd, z = n gamma + beta.
template <int Lanes>
struct Channels {
  Vector<float, Lanes> mean, rstd, gamma, beta;

  template <class Operation>
  __device__ Channels(const Operation& op, int channel)
      : mean(load<Lanes>(static_cast<const float*>(op.mean) + channel)),
        rstd(load<Lanes>(static_cast<const float*>(op.rstd) + channel)),
        gamma(load<Lanes>(static_cast<const float*>(op.gamma) + channel)),
        beta(load<Lanes>(static_cast<const float*>(op.beta) + channel)) {}

  __device__ float normal(int i, float x) const { return (x - mean[i]) * rstd[i]; }
};

template <class T, int Lanes>
__global__ void __launch_bounds__(threads)
    batch_norm_normalize(BatchNormForward op, Tiling t, const float* rest) {
  const Place<Lanes> place(t);
  if (place.row >= t.slab.rows) return;
  const Channels<Lanes> of(op, place.channel);
  const Vector<float, Lanes> of_mean = load<Lanes>(rest + place.channel);
  const ActivationParameters f{op.activation, op.slope};
  for (RowWalk walk = place.walk(t); walk.left > 0; walk.advance(held)) {
    Vector<T, Lanes> v[held];
    load_rows(walk, static_cast<const T*>(op.x), v);
    walk.for_each<held>([&](int k, std::int64_t offset) {
      Vector<float, Lanes> y;
#pragma unroll
      for (int i = 0; i < Lanes; ++i) {
        const float deviation = static_cast<float>(v[k][i]) - of.mean[i] - of_mean[i];
        y[i] = activate(f, deviation * of.rstd[i] * of.gamma[i] + of.beta[i]);
      }
      store_float(static_cast<T*>(op.y) + offset, y);
    });
  }
}

/// body(k, i, offset, n, dz) for every element of a walk's next vectors.
template <class T, int Lanes, class Body>
__device__ void for_each_gradient(const BatchNormBackward& op, const Channels<Lanes>& of,
                                  const RowWalk& walk, Body&& body) {
  const ActivationParameters f{op.activation, op.slope};
  Vector<T, Lanes> x[held], dy[held];
  load_rows(walk, static_cast<const T*>(op.x), x);
  load_rows(walk, static_cast<const T*>(op.dy), dy);
  walk.for_each<held>([&](int k, std::int64_t offset) {
    Vector<float, Lanes> n, dz;
#pragma unroll
    for (int i = 0; i < Lanes; ++i) {
      n[i] = of.normal(i, static_cast<float>(x[k][i]));
      dz[i] = static_cast<float>(dy[k][i]) * activation_slope(f, n[i] * of.gamma[i] + of.beta[i]);
    }
    body(offset, n, dz);
  });
}

/// partial: sums of dz and of dz n of each chunk and channel.
template <class T, int Lanes>
__global__ void __launch_bounds__(threads)
    batch_norm_gradient_sums(BatchNormBackward op, Tiling t, float* partial) {
  __shared__ SharedArray<float, threads * 2 * Lanes> sums;
  const Place<Lanes> place(t);
  float sum[2 * Lanes] = {};
  if (place.row < t.slab.rows) {
    const Channels<Lanes> of(op, place.channel);
    for (RowWalk walk = place.walk(t); walk.left > 0; walk.advance(held))
      for_each_gradient<T>(op, of, walk, [&](std::int64_t, const auto& n, const auto& dz) {
#pragma unroll
        for (int i = 0; i < Lanes; ++i) {
          sum[i] += dz[i];
          sum[Lanes + i] += dz[i] * n[i];
        }
      });
  }
  column_sums<threads>(sum, t.slab, sums.data());
  if (place.row > 0) return;
  const float* mine = sums.data() + place.vector * 2 * Lanes;
  store_partial<Lanes>(place, t, 0, mine, partial);
  store_partial<Lanes>(place, t, 1, mine + Lanes, partial);
}

/// dbeta and dgamma: sums over the chunks, a warp a channel.
__global__ void __launch_bounds__(threads)
    batch_norm_parameter_gradients(Tiling t, const float* partial, float* dgamma, float* dbeta) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int channel =
      static_cast<int>(blockIdx.x) * (threads / 32) + static_cast<int>(threadIdx.x) / 32;
  if (channel >= t.channels) return;
  float sum[2] = {};
  for (int chunk = lane; chunk < t.chunks; chunk += 32) {
    const float* of_chunk = partial + static_cast<std::int64_t>(chunk) * 2 * t.channels + channel;
    sum[0] += of_chunk[0];
    sum[1] += of_chunk[t.channels];
  }
  for (float& one : sum) one = warp_sum(one);
  if (lane > 0) return;
  dbeta[channel] = sum[0];
  dgamma[channel] = sum[1];
}

/// dx = gamma rstd (dz - mean of dz - n mean of dz n); without the means where statistics are
/// constants.
template <class T, int Lanes>
__global__ void __launch_bounds__(threads)
    batch_norm_input_gradient(BatchNormBackward op, Tiling t) {
  const Place<Lanes> place(t);
  if (place.row >= t.slab.rows) return;
  const Channels<Lanes> of(op, place.channel);
  Vector<float, Lanes> mean_dz{}, mean_dz_n{};
  if (op.training) {
    mean_dz = load<Lanes>(static_cast<const float*>(op.dbeta) + place.channel);
    mean_dz_n = load<Lanes>(static_cast<const float*>(op.dgamma) + place.channel);
#pragma unroll
    for (int i = 0; i < Lanes; ++i) {
      mean_dz[i] /= static_cast<float>(t.rows);
      mean_dz_n[i] /= static_cast<float>(t.rows);
    }
  }
  for (RowWalk walk = place.walk(t); walk.left > 0; walk.advance(held))
    for_each_gradient<T>(op, of, walk, [&](std::int64_t offset, const auto& n, const auto& dz) {
      Vector<float, Lanes> dx;
#pragma unroll
      for (int i = 0; i < Lanes; ++i)
        dx[i] = of.gamma[i] * of.rstd[i] * (dz[i] - mean_dz[i] - n[i] * mean_dz_n[i]);
      store_float(static_cast<T*>(op.dx) + offset, dx);
    });
}

Grid warp_a_channel(int channels) {
  return {dim3(static_cast<unsigned>(ceil_div(channels, threads / 32))), threads};
}

/// A function of its own because GCC 12 loses kernels named in a lambda that has no need of its own
/// parameters to name them.
template <class T>
void launch_statistics(Gpu gpu, const BatchNormForward& op, const Tiling& tiling,
                       const float* partial, float* rest) {
  launch<batch_norm_statistics<T>>(gpu, warp_a_channel(op.channels), op, tiling, partial, rest);
}

/// The chunks' partial results, and a value for each channel.
template <class Operation>
std::size_t needed_bytes(const Operation& op) {
  std::size_t bytes = 0;
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.channels, [&]<class Lanes>(Lanes) {
      const Tiling tiling = tile<Lanes::value>(op.rows, op.channels);
      bytes = sizeof(float) * (2 * tiling.chunks + 1) * static_cast<std::size_t>(op.channels);
    });
  });
  return bytes;
}

}  // namespace

std::size_t workspace_bytes(Gpu, const BatchNormForward& op) {
  return needed_bytes(op);
}

std::size_t workspace_bytes(Gpu, const BatchNormBackward& op) {
  return needed_bytes(op);
}

void run(Gpu gpu, const BatchNormForward& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.channels, [&]<class Lanes>(Lanes) {
      const Tiling tiling = tile<Lanes::value>(op.rows, op.channels);
      auto* rest = static_cast<float*>(op.workspace);
      float* partial = rest + op.channels;
      if (op.training) {
        launch<batch_norm_moments<T, Lanes::value>>(gpu, grid_of(tiling), tiling,
                                                    static_cast<const T*>(op.x), partial);
        launch_statistics<T>(gpu, op, tiling, partial, rest);
      } else {
        launch<batch_norm_constants>(gpu, {blocks_for(op.channels, threads), threads}, op, rest);
      }
      launch<batch_norm_normalize<T, Lanes::value>>(gpu, grid_of(tiling), op, tiling, rest);
    });
  });
}

void run(Gpu gpu, const BatchNormBackward& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.channels, [&]<class Lanes>(Lanes) {
      const Tiling tiling = tile<Lanes::value>(op.rows, op.channels);
      auto* partial = static_cast<float*>(op.workspace);
      launch<batch_norm_gradient_sums<T, Lanes::value>>(gpu, grid_of(tiling), op, tiling, partial);
      launch<batch_norm_parameter_gradients>(gpu, warp_a_channel(op.channels), tiling, partial,
                                             static_cast<float*>(op.dgamma),
                                             static_cast<float*>(op.dbeta));
      launch<batch_norm_input_gradient<T, Lanes::value>>(gpu, grid_of(tiling), op, tiling);
    });
  });
}

}  // namespace anaphase::kernels
