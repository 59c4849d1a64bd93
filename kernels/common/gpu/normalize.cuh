// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the normalisations share: how a block's threads lie over rows of channels, sums down the
// columns, and moments that are merged.

#include <algorithm>

#include "kernels/common/gpu/reduce.cuh"
#include "kernels/common/gpu/vector.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// A block's part of every row (pixel): some neighbouring channels, cut into `vectors` vectors of
/// up to 16 bytes. Thread t takes vector t % vectors of row t / vectors and of every `rows`-th row
/// from there: neighbours read neighbouring bytes, whatever the number of channels, and a thread
/// keeps its channels.
struct Slab {
  int vectors;
  int rows;  // that the block's threads cover at a time; threads past the last are idle
};

/// The vectors of a thread from row `begin` of x [.., channels] to row `end`: `offset` is that of
/// its first in x, `step` is from one to the next; there is one more as long as `left` > 0.
struct RowWalk {
  std::int64_t offset, step;
  int left, rows;

  __device__ RowWalk(const Slab& slab, std::int64_t begin, int count, int channels, int row,
                     int channel)
      : offset((begin + row) * channels + channel),
        step(static_cast<std::int64_t>(slab.rows) * channels),
        left(row < slab.rows ? count - row : 0),
        rows(slab.rows) {}

  __device__ void advance(int vectors) {
    offset += vectors * step;
    left -= vectors * rows;
  }

  /// body(k, offset) for the next `Held` vectors, k from 0, as far as there are any.
  template <int Held, class Body>
  __device__ void for_each(Body&& body) const {
#pragma unroll
    for (int k = 0; k < Held; ++k)
      if (k * rows < left) body(k, offset + k * step);
  }
};

/// A thread's next `Held` vectors of `from`, loaded at once; zeros past the last.
template <int Held, class T, int Lanes>
__device__ void load_rows(const RowWalk& walk, const T* from, Vector<T, Lanes> (&value)[Held]) {
#pragma unroll
  for (int k = 0; k < Held; ++k) value[k] = {};
  walk.for_each<Held>([&](int k, std::int64_t offset) { value[k] = load<Lanes>(from + offset); });
}

/// Adds the rows of a matrix in shared memory into its first one, eight into one at a time. Starts
/// and ends with a barrier.
template <int Threads>
__device__ void fold_rows(float* matrix, int rows, int width) {
  __syncthreads();
  while (rows > 1) {
    const int left = ceil_div(rows, 8), kept = left * width, count = rows * width;
    for (int j = static_cast<int>(threadIdx.x); j < kept; j += Threads) {
      float sum = matrix[j];
#pragma unroll
      for (int k = 1; k < 8; ++k)
        if (j + k * kept < count) sum += matrix[j + k * kept];
      matrix[j] = sum;
    }
    __syncthreads();
    rows = left;
  }
}

/// The sums over the rows of a block's threads of each thread's N values: sums[v * N + i] becomes
/// that of value[i] in the threads of vector v. `sums` holds Threads * N floats; no thread may
/// still be reading it.
template <int Threads, int N>
__device__ void column_sums(const float (&value)[N], const Slab& slab, float* sums) {
  constexpr int width = std::min(N, 4);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < slab.rows * slab.vectors) {
#pragma unroll
    for (int i = 0; i < N; i += width) {
      Vector<float, width> mine;
#pragma unroll
      for (int j = 0; j < width; ++j) mine[j] = value[i + j];
      store(sums + thread * N + i, mine);
    }
  }
  fold_rows<Threads>(sums, slab.rows, slab.vectors * N);
}

/// sum[i] += the sum of value(l) over the lanes l of run i, added up by themselves first: short
/// sums lose less.
template <int Run, int Runs, class Value>
__device__ void add_runs(float (&sum)[Runs], Value&& value) {
#pragma unroll
  for (int i = 0; i < Runs; ++i) {
    float of_run = value(i * Run);
#pragma unroll
    for (int l = i * Run + 1; l < (i + 1) * Run; ++l) of_run += value(l);
    sum[i] += of_run;
  }
}

/// Count, mean and sum of squared deviations from the mean of N sets of equal count, one for each
/// run of lanes of a vector. Sets are merged as by Chan, Golub and LeVeque, "Updating Formulae and
/// a Pairwise Algorithm for Computing Sample Variances", 1979.
template <int N>
struct Moments {
  float count = 0;
  float mean[N] = {}, square[N] = {};

  /// n > 0
  __device__ void merge(float n, const float (&of_mean)[N], const float (&of_square)[N]) {
    const float total = count + n, share = n / total;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float distance = of_mean[i] - mean[i];
      mean[i] += distance * share;
      square[i] += of_square[i] + distance * distance * (count * share);
    }
    count = total;
  }

  /// Merges what a thread holds at once: two passes over registers, relative to `center`.
  template <int Held, class T, int Lanes>
  __device__ void add_rows(const RowWalk& walk, Vector<T, Lanes> (&x)[Held],
                           const float (&center)[N]) {
    constexpr int run = Lanes / N;
    float n = 0, of_mean[N] = {}, of_square[N] = {};
    walk.for_each<Held>([&](int k, std::int64_t) {
      n += run;
      add_runs<run>(of_mean, [&](int l) { return static_cast<float>(x[k][l]) - center[l / run]; });
    });
#pragma unroll
    for (int i = 0; i < N; ++i) of_mean[i] /= n;
    walk.for_each<Held>([&](int k, std::int64_t) {
      forget_origin(x[k]);
      add_runs<run>(of_square, [&](int l) {
        const float deviation = static_cast<float>(x[k][l]) - center[l / run] - of_mean[l / run];
        return deviation * deviation;
      });
    });
    merge(n, of_mean, of_square);
  }
};

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
