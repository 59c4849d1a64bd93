// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"
#include "kernels/batch_norm/batch_norm.hpp"
#include "kernels/group_norm/group_norm.hpp"

namespace anaphase::engine {

Tensor group_norm(Tape& tape, const Tensor& x, const Tensor& gamma, const Tensor& beta, int groups,
                  const Tensor& scale_shift, Activation activation, float epsilon) {
  const std::int64_t n = x.dim(0), channels = x.dim(-1);
  check(groups > 0 && channels % groups == 0, "group_norm",
        "{} channels cannot be divided into {} groups", channels, groups);
  check_shape(gamma, {channels}, "group_norm", "gamma");
  check_shape(beta, {channels}, "group_norm", "beta");
  if (scale_shift)
    check_tensor(scale_shift, {n, 2 * channels}, x.type(), "group_norm", "scale_shift");
  check(activation == Activation::none || activation == Activation::silu, "group_norm",
        "only none and silu can be fused");

  const kernels::GroupNormShape shape{static_cast<int>(n), per_sample(x) / channels,
                                      static_cast<int>(channels), groups};
  const DType type = x.type(), param = kernels::param_type(type);
  const Tensor y = tape.allocate_like(x);
  const Tensor mean = tape.allocate({n, groups}, param), rstd = tape.allocate({n, groups}, param);
  tape.launch("group_norm_forward", {x, gamma, beta, scale_shift}, {y, mean, rstd}, [=] {
    return kernels::GroupNormForward{.shape = shape,
                                     .type = type,
                                     .epsilon = epsilon,
                                     .x = x.data(),
                                     .gamma = gamma.data(),
                                     .beta = beta.data(),
                                     .scale_shift = scale_shift.data(),
                                     .activation = activation,
                                     .y = y.data(),
                                     .mean = mean.data(),
                                     .rstd = rstd.data()};
  });
  const auto backward = [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    const Tensor dx = tape.allocate_like(x);
    const Tensor dgamma = tape.allocate({channels}, param),
                 dbeta = tape.allocate({channels}, param);
    const Tensor dscale_shift = scale_shift ? tape.allocate_like(scale_shift) : Tensor{};
    tape.launch("group_norm_backward", {x, gamma, beta, scale_shift, mean, rstd, dy},
                {dx, dgamma, dbeta, dscale_shift}, [=] {
                  return kernels::GroupNormBackward{.shape = shape,
                                                    .type = type,
                                                    .x = x.data(),
                                                    .gamma = gamma.data(),
                                                    .beta = beta.data(),
                                                    .scale_shift = scale_shift.data(),
                                                    .activation = activation,
                                                    .mean = mean.data(),
                                                    .rstd = rstd.data(),
                                                    .dy = dy.data(),
                                                    .dx = dx.data(),
                                                    .dgamma = dgamma.data(),
                                                    .dbeta = dbeta.data(),
                                                    .dscale_shift = dscale_shift.data()};
                });
    return {dx, dgamma, dbeta, dscale_shift};
  };
  tape.record({x, gamma, beta, scale_shift}, y, backward);
  return y;
}

Tensor batch_norm(Tape& tape, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                  const Tensor& running_mean, const Tensor& running_variance,
                  const BatchNormOptions& options) {
  const std::int64_t channels = x.dim(-1), rows = x.count() / channels;
  for (const Tensor& parameter : {gamma, beta, running_mean, running_variance})
    check_shape(parameter, {channels}, "batch_norm", "a parameter");

  const DType type = x.type(), param = kernels::param_type(type);
  const Tensor y = tape.allocate_like(x);
  const Tensor mean = tape.allocate({channels}, param), rstd = tape.allocate({channels}, param);
  tape.launch("batch_norm_forward", {x, gamma, beta, running_mean, running_variance},
              {y, mean, rstd, running_mean, running_variance}, [=] {
                return kernels::BatchNormForward{.rows = rows,
                                                 .channels = static_cast<int>(channels),
                                                 .type = type,
                                                 .epsilon = options.epsilon,
                                                 .momentum = options.momentum,
                                                 .training = options.training,
                                                 .x = x.data(),
                                                 .gamma = gamma.data(),
                                                 .beta = beta.data(),
                                                 .running_mean = running_mean.data(),
                                                 .running_variance = running_variance.data(),
                                                 .activation = options.activation,
                                                 .slope = options.slope,
                                                 .y = y.data(),
                                                 .mean = mean.data(),
                                                 .rstd = rstd.data()};
              });
  tape.record({x, gamma, beta}, y, [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    const Tensor dx = tape.allocate_like(x);
    const Tensor dgamma = tape.allocate({channels}, param),
                 dbeta = tape.allocate({channels}, param);
    tape.launch("batch_norm_backward", {x, gamma, beta, mean, rstd, dy}, {dx, dgamma, dbeta}, [=] {
      return kernels::BatchNormBackward{.rows = rows,
                                        .channels = static_cast<int>(channels),
                                        .type = type,
                                        .training = options.training,
                                        .x = x.data(),
                                        .gamma = gamma.data(),
                                        .beta = beta.data(),
                                        .mean = mean.data(),
                                        .rstd = rstd.data(),
                                        .activation = options.activation,
                                        .slope = options.slope,
                                        .dy = dy.data(),
                                        .dx = dx.data(),
                                        .dgamma = dgamma.data(),
                                        .dbeta = dbeta.data()};
    });
    return {dx, dgamma, dbeta};
  });
  return y;
}

Layer fold_batch_norm(Tape& tape, const Tensor& weight, const Tensor& bias, const Tensor& gamma,
                      const Tensor& beta, const Tensor& running_mean,
                      const Tensor& running_variance, float epsilon) {
  const std::int64_t channels = weight.dim(0);
  for (const Tensor& parameter : {gamma, beta, running_mean, running_variance})
    check_shape(parameter, {channels}, "fold_batch_norm", "a parameter");
  if (bias) check_shape(bias, {channels}, "fold_batch_norm", "bias");

  const Layer folded{tape.allocate_derived(weight.shape(), weight.type()),
                     tape.allocate_derived({channels}, weight.type())};
  const std::vector<Tensor> reads{weight, bias, gamma, beta, running_mean, running_variance};
  tape.derive("fold_batch_norm", reads, {folded.weight, folded.bias}, [=] {
    return kernels::FoldBatchNorm{.channels = static_cast<int>(channels),
                                  .per_channel = per_sample(weight),
                                  .epsilon = epsilon,
                                  .weight = weight.data(),
                                  .bias = bias.data(),
                                  .gamma = gamma.data(),
                                  .beta = beta.data(),
                                  .mean = running_mean.data(),
                                  .variance = running_variance.data(),
                                  .folded_weight = folded.weight.data(),
                                  .folded_bias = folded.bias.data()};
  });
  return folded;
}

}  // namespace anaphase::engine
