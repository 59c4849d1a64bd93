// SPDX-License-Identifier: Apache-2.0
#pragma once

// Group norm of a slab: whole groups of one sample, of which a thread keeps one vector of channels
// (kernels/common/gpu/normalize.cuh). `Lanes` is the length of a vector and `Run` that of its runs
// of lanes that belong to one group: Lanes, or 1 where groups begin inside vectors. How a thread
// comes to its vectors, from memory or from registers, is the caller's: visit(body) calls
// body(x, [dy,] offset) for each.

#include "kernels/common/gpu/activation.cuh"
#include "kernels/common/gpu/normalize.cuh"
#include "kernels/group_norm/ladder.hpp"

namespace anaphase::kernels::group_norm {
inline namespace ANAPHASE_GPU_BUILD {

/// f(lanes, run), two integral constants, for a tiling.
template <class T, class F>
void with_lanes_and_run(const SlabTiling& tiling, F&& f) {
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, lanes_of<T>> all;
  if (tiling.lanes == 1) return f(one, one);
  if (tiling.is_run) return f(all, all);
  f(all, one);
}

inline Slab slab_of(const SlabTiling& tiling) {
  return {tiling.vectors, tiling.rows()};
}

inline dim3 blocks_of(const GroupNormShape& shape, const SlabTiling& tiling) {
  return dim3(static_cast<unsigned>(shape.n * tiling.chunks * tiling.slabs));
}

/// Where a thread stands.
template <int Lanes, int Run>
struct Place {
  static constexpr int runs = Lanes / Run;
  int members;  // channels of a group
  int groups;   // of the slab
  int sample;
  int first_group;  // of the slab, in the sample
  int row;          // of the block's threads
  int lane;         // channel of the vector's first element in the slab
  int channel;      // and in the sample
  int group[runs];  // in the slab

  /// Of a thread in block `slab_index` of the slabs of all samples.
  __device__ Place(const GroupNormShape& shape, const Slab& slab, int slab_index) {
    const int thread = static_cast<int>(threadIdx.x), width = slab.vectors * Lanes;
    const int slabs = shape.channels / width;
    members = shape.channels / shape.groups;
    groups = width / members;
    sample = slab_index / slabs;
    first_group = slab_index % slabs * groups;
    row = thread / slab.vectors;
    lane = thread % slab.vectors * Lanes;
    channel = first_group * members + lane;
#pragma unroll
    for (int i = 0; i < runs; ++i) group[i] = (lane + i * Run) / members;
  }

  /// Whether the thread answers for the group of its run i.
  __device__ bool leads(int i) const {
    return row == 0 && (lane + i * Run) % members == 0;
  }
  /// The group's number in all samples.
  __device__ std::int64_t number(int i, int all_groups) const {
    return static_cast<std::int64_t>(sample) * all_groups + first_group + group[i];
  }
};

/// weight = gamma (1 + scale) and term = beta (1 + scale) + shift of Lanes channels, so that the
/// activation's argument is the normalised value * weight + term.
template <class T, int Lanes>
struct Weights {
  Vector<float, Lanes> weight, term;

  template <class Operation>
  __device__ Weights(const Operation& op, int sample, int channel)
      : weight(load<Lanes>(static_cast<const float*>(op.gamma) + channel)),
        term(load<Lanes>(static_cast<const float*>(op.beta) + channel)) {
    if (!op.scale_shift) return;
    const int channels = op.shape.channels;
    const T* of_sample = static_cast<const T*>(op.scale_shift) +
                         static_cast<std::int64_t>(2) * sample * channels + channel;
    const Vector<float, Lanes> scale = load_float<Lanes>(of_sample),
                               shift = load_float<Lanes>(of_sample + channels);
#pragma unroll
    for (int l = 0; l < Lanes; ++l) {
      weight[l] *= 1 + scale[l];
      term[l] = term[l] * (1 + scale[l]) + shift[l];
    }
  }
};

/// In bf16 the fast exponential and quotient do: 2^-16 of the value at worst, against the 2^-9 of
/// rounding the result.
template <class T>
__device__ float sigmoid(float x) {
  if constexpr (std::is_same_v<T, float>)
    return sigmoid_of(x);
  else
    return __fdividef(1.0F, 1.0F + __expf(-x));
}

template <class T, bool IsSilu>
__device__ float activate(float u) {
  if constexpr (IsSilu)
    return u * sigmoid<T>(u);
  else
    return u;
}

template <class T, bool IsSilu>
__device__ float slope_of_activation(float u) {
  if constexpr (IsSilu) {
    const float s = sigmoid<T>(u);
    return s * (1 + u * (1 - s));
  } else {
    return 1;
  }
}

/// body(is_silu), a constant.
template <class Body>
__device__ void with_silu(Activation activation, Body&& body) {
  if (activation == Activation::silu)
    body(std::true_type{});
  else
    body(std::false_type{});
}

/// of_group[g]: the sum over the slab's group g of the threads' values, one for each run. `sums`
/// holds a value for each run of the block. Has a barrier before it writes to of_group, and ends
/// with one.
template <int Threads, int Lanes, int Run>
__device__ void group_sums(const float (&value)[Lanes / Run], const Slab& slab,
                           const Place<Lanes, Run>& place, float* sums, float* of_group) {
  column_sums<Threads>(value, slab, sums);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int runs = place.members / Run;
  for (int g = thread / 32; g < place.groups; g += Threads / 32) {
    float sum = 0;
    for (int i = lane; i < runs; i += 32) sum += sums[g * runs + i];
    sum = warp_sum(sum);
    if (lane == 0) of_group[g] = sum;
  }
  __syncthreads();
}

/// Of the groups of a thread's runs. A mean is the sum of two floats, so that it is exact whatever
/// the size of the values: `mean`, which the backward pass is given, and `rest`.
template <int Runs>
struct Statistics {
  float mean[Runs], rest[Runs], rstd[Runs];

  __device__ void set_mean(int i, float center, float distance) {
    mean[i] = center + distance;
    rest[i] = distance - (mean[i] - center);
  }
  /// A variance that rounding made negative is 0; NaN stays.
  __device__ void set_variance(int i, float variance, float epsilon) {
    rstd[i] = 1 / sqrtf((variance < 0 ? 0 : variance) + epsilon);
  }
};

/// The values that the groups' other values are taken relative to: their first ones.
template <class T, int Lanes, int Run>
__device__ void load_centers(const GroupNormForward& op, const Place<Lanes, Run>& place,
                             float (&center)[Lanes / Run]) {
  const T* x = static_cast<const T*>(op.x) + place.sample * op.shape.pixels * op.shape.channels;
#pragma unroll
  for (int i = 0; i < Lanes / Run; ++i)
    center[i] = static_cast<float>(x[(place.first_group + place.group[i]) * place.members]);
}

/// Two-pass statistics of a slab that one block visits twice: the mean, then the squared deviations
/// from it (less what its rounding adds to them).
template <class T, int Threads, int Lanes, int Run, class Visit>
__device__ Statistics<Lanes / Run> slab_statistics(const GroupNormForward& op, const Slab& slab,
                                                   const Place<Lanes, Run>& place, Visit&& visit,
                                                   float* sums, float* of_group) {
  constexpr int runs = Lanes / Run;
  Statistics<runs> statistics;
  float center[runs], sum[runs] = {};
  const float count = static_cast<float>(op.shape.pixels) * static_cast<float>(place.members);
  load_centers<T>(op, place, center);
  visit([&](const Vector<T, Lanes>& x, std::int64_t) {
    add_runs<Run>(sum, [&](int l) { return static_cast<float>(x[l]) - center[l / Run]; });
  });
  group_sums<Threads>(sum, slab, place, sums, of_group);
  float square[runs] = {};
#pragma unroll
  for (int i = 0; i < runs; ++i)
    statistics.set_mean(i, center[i], of_group[place.group[i]] / count);
  visit([&](const Vector<T, Lanes>& x, std::int64_t) {
    add_runs<Run>(square, [&](int l) {
      const float deviation = static_cast<float>(x[l]) - statistics.mean[l / Run];
      return deviation * deviation;
    });
  });
  group_sums<Threads>(square, slab, place, sums, of_group);
#pragma unroll
  for (int i = 0; i < runs; ++i)
    statistics.set_variance(
        i, of_group[place.group[i]] / count - statistics.rest[i] * statistics.rest[i], op.epsilon);
  return statistics;
}

/// Keeps the statistics of the groups that the thread answers for.
template <int Lanes, int Run>
__device__ void store_statistics(const GroupNormForward& op, const Place<Lanes, Run>& place,
                                 const Statistics<Lanes / Run>& statistics) {
#pragma unroll
  for (int i = 0; i < Lanes / Run; ++i) {
    if (!place.leads(i)) continue;
    static_cast<float*>(op.mean)[place.number(i, op.shape.groups)] = statistics.mean[i];
    static_cast<float*>(op.rstd)[place.number(i, op.shape.groups)] = statistics.rstd[i];
  }
}

/// y of the visited vectors.
template <class T, int Lanes, int Run, class Visit>
__device__ void normalize(const GroupNormForward& op, const Place<Lanes, Run>& place,
                          const Statistics<Lanes / Run>& statistics, Visit&& visit) {
  Weights<T, Lanes> of_channel(op, place.sample, place.channel);
#pragma unroll
  for (int l = 0; l < Lanes; ++l) {
    of_channel.weight[l] *= statistics.rstd[l / Run];
    of_channel.term[l] -= statistics.rest[l / Run] * of_channel.weight[l];
  }
  with_silu(op.activation, [&]<bool IsSilu>(std::bool_constant<IsSilu>) {
    visit([&](const Vector<T, Lanes>& x, std::int64_t offset) {
      Vector<float, Lanes> y;
#pragma unroll
      for (int l = 0; l < Lanes; ++l)
        y[l] = activate<T, IsSilu>((static_cast<float>(x[l]) - statistics.mean[l / Run]) *
                                       of_channel.weight[l] +
                                   of_channel.term[l]);
      store_float(static_cast<T*>(op.y) + offset, y);
    });
  });
}

/// What the backward pass knows of a thread's channels.
template <class T, int Lanes, int Run>
struct Known : Weights<T, Lanes> {
  float mean[Lanes / Run], rstd[Lanes / Run];

  __device__ Known(const GroupNormBackward& op, const Place<Lanes, Run>& place)
      : Weights<T, Lanes>(op, place.sample, place.channel) {
#pragma unroll
    for (int i = 0; i < Lanes / Run; ++i) {
      mean[i] = static_cast<const float*>(op.mean)[place.number(i, op.shape.groups)];
      rstd[i] = static_cast<const float*>(op.rstd)[place.number(i, op.shape.groups)];
    }
  }

  /// The normalised value of lane l.
  __device__ float normal(int l, T x) const {
    return (static_cast<float>(x) - mean[l / Run]) * rstd[l / Run];
  }
  /// The gradient at the activation's argument.
  template <bool IsSilu>
  __device__ float gradient(int l, float normal, T dy) const {
    return static_cast<float>(dy) *
           slope_of_activation<T, IsSilu>(normal * this->weight[l] + this->term[l]);
  }
};

/// The sums of a channel that all gradients are made of: of du, the gradient at the activation's
/// argument, and of du * normalised value.
template <int Lanes>
struct GradientSums {
  float du[Lanes] = {}, du_normal[Lanes] = {};

  template <class T, int Run, class Visit>
  __device__ void add(const GroupNormBackward& op, const Known<T, Lanes, Run>& known,
                      Visit&& visit) {
    with_silu(op.activation, [&]<bool IsSilu>(std::bool_constant<IsSilu>) {
      visit([&](const Vector<T, Lanes>& x, const Vector<T, Lanes>& dy, std::int64_t) {
#pragma unroll
        for (int l = 0; l < Lanes; ++l) {
          const float normal = known.normal(l, x[l]);
          const float gradient = known.template gradient<IsSilu>(l, normal, dy[l]);
          du[l] += gradient;
          du_normal[l] += gradient * normal;
        }
      });
    });
  }
};

/// Adds the threads' sums up for the channels, to `of_channel` [2, channels of the sample] in
/// global memory, and weighted for the groups of the slab, to of_group[g] and of_group[most_groups
/// + g]. `sums` holds Threads * Lanes floats. Ends with a barrier.
template <class T, int Threads, int Lanes, int Run>
__device__ void reduce_gradients(const GroupNormBackward& op, const Slab& slab,
                                 const Place<Lanes, Run>& place, const GradientSums<Lanes>& mine,
                                 float* of_channel, float* sums, float* of_group) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, members = place.members;
  const int first_channel = place.first_group * members;
#pragma unroll
  for (int which = 0; which < 2; ++which) {
    column_sums<Threads>(which == 0 ? mine.du : mine.du_normal, slab, sums);
    for (int c = thread; c < slab.vectors * Lanes; c += Threads)
      of_channel[which * op.shape.channels + first_channel + c] = sums[c];
    for (int g = thread / 32; g < place.groups; g += Threads / 32) {
      float sum = 0;
      for (int c = g * members + lane; c < (g + 1) * members; c += 32)
        sum += sums[c] * Weights<T, 1>(op, place.sample, first_channel + c).weight[0];
      sum = warp_sum(sum);
      if (lane == 0) of_group[which * most_groups + g] = sum;
    }
    __syncthreads();
  }
}

/// dx of the visited vectors, given the slab's sums over whole groups.
template <class T, int Lanes, int Run, class Visit>
__device__ void differentiate(const GroupNormBackward& op, const Place<Lanes, Run>& place,
                              const Known<T, Lanes, Run>& known, const float* of_group,
                              Visit&& visit) {
  constexpr int runs = Lanes / Run;
  const float count = static_cast<float>(op.shape.pixels) * static_cast<float>(place.members);
  float mean_dn[runs], mean_dn_normal[runs];  // of the gradient of the normalised value
#pragma unroll
  for (int i = 0; i < runs; ++i) {
    mean_dn[i] = of_group[place.group[i]] / count;
    mean_dn_normal[i] = of_group[most_groups + place.group[i]] / count;
  }
  with_silu(op.activation, [&]<bool IsSilu>(std::bool_constant<IsSilu>) {
    visit([&](const Vector<T, Lanes>& x, const Vector<T, Lanes>& dy, std::int64_t offset) {
      Vector<float, Lanes> dx;
#pragma unroll
      for (int l = 0; l < Lanes; ++l) {
        const float normal = known.normal(l, x[l]);
        const float dn = known.template gradient<IsSilu>(l, normal, dy[l]) * known.weight[l];
        dx[l] = known.rstd[l / Run] * (dn - mean_dn[l / Run] - normal * mean_dn_normal[l / Run]);
      }
      store_float(static_cast<T*>(op.dx) + offset, dx);
    });
  });
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels::group_norm
