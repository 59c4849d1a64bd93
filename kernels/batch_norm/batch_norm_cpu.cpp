// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm.hpp"

#include <cmath>

#include "kernels/activation/activation_math.hpp"
#include "kernels/common/normalize.hpp"
#include "kernels/common/parallel.hpp"

namespace anaphase::kernels {
namespace {

template <class F>
void with_rectifier(Activation activation, float slope, F&& f) {
  if (activation == Activation::none) return f(Identity{});
  if (activation == Activation::relu) return f(Relu{});
  f(LeakyRelu{slope});
}

}  // namespace

std::size_t workspace_bytes(Cpu, const BatchNormForward& op) {
  const std::int64_t chunks = op.training ? RowChunks(op.rows, op.channels).count : 0;
  return op.channels * 2 * (chunks * sizeof(double) + sizeof(float));
}

void run(Cpu, const BatchNormForward& op) {
  const int channels = op.channels;
  const RowChunks chunks(op.rows, channels);
  const auto* gamma = static_cast<const float*>(op.gamma);
  const auto* beta = static_cast<const float*>(op.beta);
  auto* running_mean = static_cast<float*>(op.running_mean);
  auto* running_variance = static_cast<float*>(op.running_variance);
  auto* mean = static_cast<float*>(op.mean);
  auto* rstd = static_cast<float*>(op.rstd);
  auto* factor = static_cast<float*>(op.workspace);
  auto* term = factor + channels;
  auto* moments = reinterpret_cast<double*>(term + channels);  // [chunks, (mean, square), channels]

  const auto normalize = [&]<class T>(auto activate, T) {
    const T* x = static_cast<const T*>(op.x);
    if (op.training)
      for_each_chunk(chunks, 1, [&](int, std::int64_t chunk) {
        double* of_chunk = moments + chunk * 2 * channels;
        channel_moments(x, chunks.begin(chunk), chunks.end(chunk), channels, of_chunk,
                        of_chunk + channels);
      });
    parallel_for(channels, chunks.count, [&](std::int64_t i) {
      const int c = static_cast<int>(i);
      Moments use{};
      if (op.training) {
        use = combine_moments(moments, chunks, c, c + 1);
        const auto rows = static_cast<double>(op.rows);
        const double unbiased = use.variance * (op.rows > 1 ? rows / (rows - 1) : 1);
        const double momentum = op.momentum;
        running_mean[c] =
            static_cast<float>((1 - momentum) * running_mean[c] + momentum * use.mean);
        running_variance[c] =
            static_cast<float>((1 - momentum) * running_variance[c] + momentum * unbiased);
      } else {
        use = {running_mean[c], running_variance[c]};
      }
      const double inverse = 1 / std::sqrt(use.variance + static_cast<double>(op.epsilon));
      mean[c] = static_cast<float>(use.mean);
      rstd[c] = static_cast<float>(inverse);
      factor[c] = static_cast<float>(inverse * gamma[c]);
      term[c] = static_cast<float>(beta[c] + (mean[c] - use.mean) * inverse * gamma[c]);
    });
    for_each_chunk(chunks, 1, [&](int, std::int64_t chunk) {
      apply_affine(x, chunks.begin(chunk), chunks.end(chunk), channels, {mean, factor, term},
                   activate, static_cast<T*>(op.y));
    });
  };
  with_cpu_type(op.type, [&](auto type) {
    with_rectifier(op.activation, op.slope, [&](auto activate) { normalize(activate, type); });
  });
}

std::size_t workspace_bytes(Cpu, const BatchNormBackward& op) {
  return op.channels * (2 * RowChunks(op.rows, op.channels).count + 3) * sizeof(float);
}

void run(Cpu, const BatchNormBackward& op) {
  const int channels = op.channels;
  const RowChunks chunks(op.rows, channels);
  const auto* gamma = static_cast<const float*>(op.gamma);
  const auto* mean = static_cast<const float*>(op.mean);
  const auto* rstd = static_cast<const float*>(op.rstd);
  auto* factor = static_cast<float*>(op.workspace);
  float *of_x = factor + channels, *constant = of_x + channels;
  float* sums = constant + channels;  // [chunks, 2, channels]
  const Affine affine{mean, factor, static_cast<const float*>(op.beta)};
  for (int c = 0; c < channels; ++c) factor[c] = rstd[c] * gamma[c];

  const auto differentiate = [&]<class T>(auto activate, T) {
    const T* x = static_cast<const T*>(op.x);
    const T* dy = static_cast<const T*>(op.dy);
    for_each_chunk(chunks, 1, [&](int, std::int64_t chunk) {
      float* sum = sums + chunk * 2 * channels;
      affine_sums(x, dy, chunks.begin(chunk), chunks.end(chunk), channels, affine, activate, sum,
                  sum + channels);
    });
    parallel_for(channels, chunks.count, [&](std::int64_t c) {
      double du = 0, du_normal = 0;
      for (std::int64_t k = 0; k < chunks.count; ++k) {
        du += sums[2 * k * channels + c];
        du_normal += sums[(2 * k + 1) * channels + c];
      }
      const double r = rstd[c];
      du_normal *= r;
      static_cast<float*>(op.dbeta)[c] = static_cast<float>(du);
      static_cast<float*>(op.dgamma)[c] = static_cast<float>(du_normal);
      const double share = op.training ? r * gamma[c] / static_cast<double>(op.rows) : 0;
      of_x[c] = static_cast<float>(-share * du_normal * r);
      constant[c] = static_cast<float>(-share * du);
    });
    for_each_chunk(chunks, 1, [&](int, std::int64_t chunk) {
      apply_affine_gradient(x, dy, chunks.begin(chunk), chunks.end(chunk), channels, affine,
                            {factor, of_x, constant}, activate, static_cast<T*>(op.dx));
    });
  };
  with_cpu_type(op.type, [&](auto type) {
    with_rectifier(op.activation, op.slope, [&](auto activate) { differentiate(activate, type); });
  });
}

void run(Cpu, const FoldBatchNorm& op) {
  const auto of = [](const void* parameter, std::int64_t c) {
    return static_cast<double>(static_cast<const float*>(parameter)[c]);
  };
  parallel_for(op.channels, op.per_channel, [&](std::int64_t c) {
    const double factor =
        of(op.gamma, c) / std::sqrt(of(op.variance, c) + static_cast<double>(op.epsilon));
    const auto* weight = static_cast<const float*>(op.weight) + c * op.per_channel;
    auto* folded = static_cast<float*>(op.folded_weight) + c * op.per_channel;
    for (std::int64_t i = 0; i < op.per_channel; ++i)
      folded[i] = static_cast<float>(weight[i] * factor);
    const double bias = op.bias ? of(op.bias, c) : 0;
    static_cast<float*>(op.folded_bias)[c] =
        static_cast<float>((bias - of(op.mean, c)) * factor + of(op.beta, c));
  });
}

}  // namespace anaphase::kernels
