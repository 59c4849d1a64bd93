// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/activation.cuh"
#include "kernels/group_norm/ladder.hpp"
#include "kernels/group_norm/parameters.cuh"

// One block a group of a sample, as the formula reads.
//
// Forward: three passes over the group's elements (mean, squared deviations, result), one element a
// thread at a time. Bytes: 4 s an element of s bytes, against 2 s at least; where a group is few
// channels of many, the 32 bytes that memory hands out at once are used in part, which multiplies
// the reads by up to 32 / (s * channels of a group). Backward: a pass for each channel, so that its
// two sums are sums over the block, then one for dx: 5 s against 3 s.
//
// n * groups blocks of 256 threads: 32 for a batch of 4 with 8 groups, on a GPU with 132
// multiprocessors. It takes any sizes, and so also those that the other rungs do not.

namespace anaphase::kernels::group_norm {
namespace {

constexpr int threads = 256;

/// The elements of a group of one sample.
struct Group {
  int number, sample, first_channel, members, channels;
  std::int64_t pixels, offset;

  __device__ explicit Group(const GroupNormShape& shape)
      : number(static_cast<int>(blockIdx.x)),
        sample(number / shape.groups),
        members(shape.channels / shape.groups),
        channels(shape.channels),
        pixels(shape.pixels) {
    first_channel = number % shape.groups * members;
    offset = sample * pixels * channels + first_channel;
  }

  __device__ float count() const {
    return static_cast<float>(pixels) * static_cast<float>(members);
  }

  /// body(offset of the element, channel) for the thread's share.
  template <class Body>
  __device__ void for_each(Body&& body) const {
    std::int64_t pixel = static_cast<int>(threadIdx.x) / members;
    int member = static_cast<int>(threadIdx.x) % members;
    while (pixel < pixels) {
      body(offset + pixel * channels + member, first_channel + member);
      pixel += threads / members;
      member += threads % members;
      if (member >= members) {
        member -= members;
        ++pixel;
      }
    }
  }
};

/// 1 + scale and shift of a channel.
template <class T>
struct ScaleShift {
  float scale = 1, shift = 0;
  __device__ ScaleShift(const void* scale_shift, int channels, int sample, int c) {
    if (!scale_shift) return;
    const T* of_sample =
        static_cast<const T*>(scale_shift) + static_cast<std::int64_t>(2) * sample * channels;
    scale += static_cast<float>(of_sample[c]);
    shift = static_cast<float>(of_sample[channels + c]);
  }
};

template <class T>
__global__ void __launch_bounds__(threads) plain_forward(GroupNormForward op) {
  __shared__ SharedArray<float, threads / 32> partial;
  const Group group(op.shape);
  const auto* x = static_cast<const T*>(op.x);
  const auto* gamma = static_cast<const float*>(op.gamma);
  const auto* beta = static_cast<const float*>(op.beta);

  const float center = static_cast<float>(x[group.offset]);
  float sum[1] = {0};
  group.for_each([&](std::int64_t i, int) { sum[0] += static_cast<float>(x[i]) - center; });
  block_sums<threads>(sum, partial);
  // The mean is exact as mean + rest, whatever the size of the values.
  const float distance = sum[0] / group.count(), mean = center + distance;
  const float rest = distance - (mean - center);
  float square[1] = {0};
  group.for_each([&](std::int64_t i, int) {
    const float deviation = static_cast<float>(x[i]) - mean - rest;
    square[0] += deviation * deviation;
  });
  block_sums<threads>(square, partial);
  const float rstd = 1 / sqrtf(square[0] / group.count() + op.epsilon);
  if (threadIdx.x == 0) {
    static_cast<float*>(op.mean)[group.number] = mean;
    static_cast<float*>(op.rstd)[group.number] = rstd;
  }
  const ActivationParameters f{op.activation};
  group.for_each([&](std::int64_t i, int c) {
    const ScaleShift<T> with(op.scale_shift, group.channels, group.sample, c);
    const float z = (static_cast<float>(x[i]) - mean - rest) * rstd * gamma[c] + beta[c];
    static_cast<T*>(op.y)[i] = T(activate(f, z * with.scale + with.shift));
  });
}

template <class T>
__global__ void __launch_bounds__(threads) plain_backward(GroupNormBackward op, float* sums) {
  __shared__ SharedArray<float, 2 * threads / 32> partial;
  const Group group(op.shape);
  const auto* x = static_cast<const T*>(op.x);
  const auto* dy = static_cast<const T*>(op.dy);
  const auto* gamma = static_cast<const float*>(op.gamma);
  const auto* beta = static_cast<const float*>(op.beta);
  const float mean = static_cast<const float*>(op.mean)[group.number];
  const float rstd = static_cast<const float*>(op.rstd)[group.number];
  const ActivationParameters f{op.activation};
  const auto normal = [&](std::int64_t i) { return (static_cast<float>(x[i]) - mean) * rstd; };
  /// The gradient at the activation's argument.
  const auto gradient = [&](std::int64_t i, int c, const ScaleShift<T>& with) {
    const float u = (normal(i) * gamma[c] + beta[c]) * with.scale + with.shift;
    return static_cast<float>(dy[i]) * activation_slope(f, u);
  };

  float* of_sample = sums + static_cast<std::int64_t>(2) * group.sample * group.channels;
  float mean_dn = 0, mean_dn_normal = 0;  // of the gradient of the normalised value
  for (int c = group.first_channel; c < group.first_channel + group.members; ++c) {
    const ScaleShift<T> with(op.scale_shift, group.channels, group.sample, c);
    float sum[2] = {0, 0};  // of the gradient, and of its product with the normalised value
    for (std::int64_t p = threadIdx.x; p < group.pixels; p += threads) {
      const std::int64_t i = group.offset + p * group.channels + c - group.first_channel;
      const float du = gradient(i, c, with);
      sum[0] += du;
      sum[1] += du * normal(i);
    }
    block_sums<threads>(sum, partial);
    if (threadIdx.x == 0) {
      of_sample[c] = sum[0];
      of_sample[group.channels + c] = sum[1];
    }
    mean_dn += with.scale * gamma[c] * sum[0];
    mean_dn_normal += with.scale * gamma[c] * sum[1];
  }
  mean_dn /= group.count();
  mean_dn_normal /= group.count();
  group.for_each([&](std::int64_t i, int c) {
    const ScaleShift<T> with(op.scale_shift, group.channels, group.sample, c);
    const float dn = gradient(i, c, with) * with.scale * gamma[c];
    static_cast<T*>(op.dx)[i] = T(rstd * (dn - mean_dn - normal(i) * mean_dn_normal));
  });
}

dim3 blocks_of(const GroupNormShape& shape) {
  return dim3(static_cast<unsigned>(shape.n * shape.groups));
}

}  // namespace

void v1_plain(Gpu gpu, const GroupNormForward& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    launch<plain_forward<T>>(gpu, {blocks_of(op.shape), threads}, op);
  });
}

void v1_plain(Gpu gpu, const GroupNormBackward& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    launch<plain_backward<T>>(gpu, {blocks_of(op.shape), threads}, op,
                              static_cast<float*>(op.workspace));
    launch_parameter_gradients<T>(gpu, op);
  });
}

}  // namespace anaphase::kernels::group_norm
