// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/loss.hpp"

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"

namespace anaphase::engine {

Tensor dice_loss(Tape& tape, const Tensor& logits, const Tensor& labels, float smooth) {
  check_shape(labels, without_channels(logits), "dice_loss", "labels");
  const std::int64_t rows = labels.count();
  const int classes = static_cast<int>(logits.dim(-1));
  const DType type = logits.type(), param = kernels::param_type(type);
  const Tensor loss = tape.allocate({1}, param), sums = tape.allocate({3, classes}, param);
  tape.launch("dice_forward", {logits, labels}, {loss, sums}, [=] {
    return kernels::DiceForward{.rows = rows,
                                .classes = classes,
                                .type = type,
                                .smooth = smooth,
                                .logits = logits.data(),
                                .labels = labels.as<std::int32_t>(),
                                .loss = loss.data(),
                                .sums = sums.data()};
  });
  tape.record({logits}, loss, [=, &tape](const Tensor& dloss) -> std::vector<Tensor> {
    const Tensor dlogits = tape.allocate_like(logits);
    tape.launch("dice_backward", {logits, labels, sums, dloss}, {dlogits}, [=] {
      return kernels::DiceBackward{.rows = rows,
                                   .classes = classes,
                                   .type = type,
                                   .smooth = smooth,
                                   .logits = logits.data(),
                                   .labels = labels.as<std::int32_t>(),
                                   .sums = sums.data(),
                                   .dloss = dloss.data(),
                                   .dlogits = dlogits.data()};
    });
    return {dlogits};
  });
  return loss;
}

Tensor cross_entropy_loss(Tape& tape, const Tensor& logits, const Tensor& labels) {
  check_shape(labels, without_channels(logits), "cross_entropy_loss", "labels");
  const std::int64_t rows = labels.count();
  const int classes = static_cast<int>(logits.dim(-1));
  const DType type = logits.type(), param = kernels::param_type(type);
  const Tensor loss = tape.allocate({1}, param), counted = tape.allocate({1}, param);
  tape.launch("cross_entropy_forward", {logits, labels}, {loss, counted}, [=] {
    return kernels::CrossEntropyForward{.rows = rows,
                                        .classes = classes,
                                        .type = type,
                                        .logits = logits.data(),
                                        .labels = labels.as<std::int32_t>(),
                                        .loss = loss.data(),
                                        .counted = counted.data()};
  });
  tape.record({logits}, loss, [=, &tape](const Tensor& dloss) -> std::vector<Tensor> {
    const Tensor dlogits = tape.allocate_like(logits);
    tape.launch("cross_entropy_backward", {logits, labels, counted, dloss}, {dlogits}, [=] {
      return kernels::CrossEntropyBackward{.rows = rows,
                                           .classes = classes,
                                           .type = type,
                                           .logits = logits.data(),
                                           .labels = labels.as<std::int32_t>(),
                                           .counted = counted.data(),
                                           .dloss = dloss.data(),
                                           .dlogits = dlogits.data()};
    });
    return {dlogits};
  });
  return loss;
}

Tensor mean_squared_error(Tape& tape, const Tensor& prediction, const Tensor& target,
                          const Tensor& weight) {
  check_tensor(target, prediction.shape(), prediction.type(), "mean_squared_error", "target");
  if (weight) check_shape(weight, {prediction.dim(0)}, "mean_squared_error", "weight");
  const int n = static_cast<int>(prediction.dim(0));
  const DType type = prediction.type();
  const Tensor loss = tape.allocate({1}, kernels::param_type(type));
  tape.launch("mean_squared_error_forward", {prediction, target, weight}, {loss}, [=] {
    return kernels::MeanSquaredErrorForward{.n = n,
                                            .per_sample = per_sample(prediction),
                                            .type = type,
                                            .prediction = prediction.data(),
                                            .target = target.data(),
                                            .weight = weight.data(),
                                            .loss = loss.data()};
  });
  tape.record({prediction}, loss, [=, &tape](const Tensor& dloss) -> std::vector<Tensor> {
    const Tensor dprediction = tape.allocate_like(prediction);
    tape.launch("mean_squared_error_backward", {prediction, target, weight, dloss}, {dprediction},
                [=] {
                  return kernels::MeanSquaredErrorBackward{.n = n,
                                                           .per_sample = per_sample(prediction),
                                                           .type = type,
                                                           .prediction = prediction.data(),
                                                           .target = target.data(),
                                                           .weight = weight.data(),
                                                           .dloss = dloss.data(),
                                                           .dprediction = dprediction.data()};
                });
    return {dprediction};
  });
  return loss;
}

ClassUse class_use(Tape& tape, const Tensor& logits, const Tensor& prior) {
  const int classes = static_cast<int>(logits.dim(-1));
  check_shape(prior, {classes}, "class_use", "prior");
  const std::int64_t rows = logits.count() / classes;
  const DType type = logits.type(), param = kernels::param_type(type);
  const ClassUse result{tape.allocate({1}, param), tape.allocate({classes}, param),
                        tape.allocate({1}, param)};
  tape.launch("class_use_forward", {logits, prior}, {result.loss, result.use, result.entropy}, [=] {
    return kernels::ClassUseForward{.rows = rows,
                                    .classes = classes,
                                    .type = type,
                                    .logits = logits.data(),
                                    .prior = prior.data(),
                                    .loss = result.loss.data(),
                                    .use = result.use.data(),
                                    .entropy = result.entropy.data()};
  });
  tape.record({logits}, result.loss, [=, &tape](const Tensor& dloss) -> std::vector<Tensor> {
    const Tensor dlogits = tape.allocate_like(logits);
    tape.launch("class_use_backward", {logits, prior, result.use, dloss}, {dlogits}, [=] {
      return kernels::ClassUseBackward{.rows = rows,
                                       .classes = classes,
                                       .type = type,
                                       .logits = logits.data(),
                                       .prior = prior.data(),
                                       .use = result.use.data(),
                                       .dloss = dloss.data(),
                                       .dlogits = dlogits.data()};
    });
    return {dlogits};
  });
  return result;
}

}  // namespace anaphase::engine
