// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/step.hpp"

#include "engine/ops/ops.hpp"
#include "kernels/common/error.hpp"

namespace anaphase::apps::bench {

models::Optimizers optimizers_of(models::Model& model, std::string_view prefix) {
  models::Optimizers optimizers;
  for (const std::string& name : model.prefixes())
    if (name.starts_with(prefix))
      optimizers.push_back(
          std::make_unique<engine::Optimizer>(model.network(name).parameters(), adamw));
  return optimizers;
}

Keys network_keys() {
  return {
      {"network.dropout", "0"}, {"training.method", "supervised"}, {"student.denoising", "true"}};
}

Step network_step(models::Model& model, int batch) {
  const engine::Device& device = model.device();
  const int size = model.config().data.size, classes = model.facts().classes;
  if (!model.has_teacher() && !model.config().student.denoising)
    throw Error(
        "this model's student sees neither noise nor a timestep: measure a model with a teacher or "
        "with student.denoising, or use --method supervised");
  models::Network& network = model.has_teacher() ? model.mask() : model.student(0);
  const char* prefix = model.has_teacher() ? "teacher.mask." : "student1.";
  Step step{.optimizers = optimizers_of(model, prefix), .network = prefix};
  step.input = engine::make_tensor(device, {batch, size, size, classes + model.facts().channels},
                                   model.activation_type());
  step.timestep = engine::make_tensor(device, {batch}, engine::DType::i32);
  step.labels = engine::make_tensor(device, {batch, size, size}, engine::DType::i32);
  engine::upload(step.input, made_up_pixels(step.input.count()));
  engine::upload(step.labels, made_up_labels(batch, size, classes));
  std::vector<std::int32_t> timesteps(batch);
  for (int i = 0; i < batch; ++i)
    timesteps[i] = (2 * i + 1) * model.config().diffusion.steps / (2 * batch);
  engine::upload(step.timestep, timesteps);

  engine::Trace trace(device);
  engine::Tape tape(trace);
  for (const auto& optimizer : step.optimizers) optimizer->zero_gradients(tape);
  models::Randomness random;
  const engine::Tensor logits = network.forward(tape, step.input, step.timestep, random, true);
  step.loss = engine::add_scaled(tape, engine::dice_loss(tape, logits, step.labels),
                                 engine::cross_entropy_loss(tape, logits, step.labels));
  tape.backward(step.loss);
  for (const auto& optimizer : step.optimizers) optimizer->update(tape);
  step.program = trace.finish({step.loss});
  return step;
}

}  // namespace anaphase::apps::bench
