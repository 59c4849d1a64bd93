// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/small_network.hpp"

#include <vector>

#include "kernels/common/philox.hpp"

namespace anaphase::test {

using namespace engine;

namespace {

constexpr int samples = 2, height = 11, width = 13, classes = 3;

}  // namespace

Batch::Batch(const Device& device)
    : image(make_tensor(device, {samples, height, width, 1}, device.float_type())),
      labels(make_tensor(device, {samples, height, width}, DType::i32)),
      t(make_tensor(device, {samples}, DType::i32)),
      keys(make_tensor(device, {samples}, DType::u64)) {}

void Batch::fill(int step) const {
  kernels::PhiloxStream random(kernels::mix_key(77, step));
  std::vector<float> pixels(image.count());
  std::vector<std::int32_t> classes_of(labels.count()), times(samples);
  std::vector<std::uint64_t> new_keys(samples);
  for (float& value : pixels) value = 2 * random.uniform() - 1;
  for (std::int32_t& label : classes_of) label = random.integer(-1, classes);
  for (std::int32_t& time : times) time = random.integer(0, 1000);
  for (std::uint64_t& key : new_keys) key = random.bits();
  upload(image, pixels);
  upload(labels, classes_of);
  upload(t, times);
  upload(keys, new_keys);
}

SmallNetwork::SmallNetwork(const Device& device, std::uint64_t seed, DType type) : type_(type) {
  const auto weight = [&](const char* name, Shape shape) {
    const std::int64_t fan_in = count_of(shape) / shape.front();
    parameters.declare(name, std::move(shape), uniform_by_fan_in(fan_in));
  };
  weight("stem.weight", {8, 3, 3, 1});
  parameters.declare("batch_norm.weight", {8}, {.constant = 1});
  parameters.declare("batch_norm.bias", {8}, {});
  parameters.declare_buffer("batch_norm.mean", {8}, 0);
  parameters.declare_buffer("batch_norm.variance", {8}, 1);
  weight("down.weight", {12, 3, 3, 8});
  weight("time.weight", {24, 10});
  parameters.declare("time.bias", {24}, {});
  parameters.declare("norm.weight", {12}, {.constant = 1});
  parameters.declare("norm.bias", {12}, {});
  weight("qkv.weight", {36, 1, 1, 12});
  weight("projection.weight", {12, 1, 1, 12});
  weight("head.weight", {classes, 3, 3, 20});
  parameters.declare("head.bias", {classes}, {});
  parameters.materialise(device, seed);
  parameters.materialise_gradients();
}

Tensor SmallNetwork::logits(Tape& tape, const Batch& batch) const {
  const Tensor image = cast(tape, batch.image, type_);
  Tensor skip = conv(tape, image, at("stem.weight"), {}, {.padding = 1});
  skip =
      batch_norm(tape, skip, at("batch_norm.weight"), at("batch_norm.bias"), at("batch_norm.mean"),
                 at("batch_norm.variance"), {.activation = Activation::leaky_relu});
  Tensor h = conv(tape, skip, at("down.weight"), {}, {.stride = 2, .padding = 1});
  const Tensor time = linear(tape, timestep_embedding(tape, batch.t, 10, type_), at("time.weight"),
                             at("time.bias"));
  h = group_norm(tape, h, at("norm.weight"), at("norm.bias"), 4, time, Activation::silu);
  h = dropout(tape, h, 0.1F, batch.keys, 1);
  const Tensor attended = attention(tape, conv(tape, h, at("qkv.weight"), {}), 2);
  h = conv(tape, attended, at("projection.weight"), {}, {.residual = h});
  h = resample(tape, h, {height, width}, ResampleMode::nearest);
  return conv(tape, concat(tape, h, skip), at("head.weight"), at("head.bias"), {.padding = 1});
}

Tensor SmallNetwork::loss(Tape& tape, const Batch& batch) const {
  const Tensor y = logits(tape, batch);
  return add_scaled(tape, dice_loss(tape, y, batch.labels),
                    cross_entropy_loss(tape, y, batch.labels), 1, 0.5);
}

Training::Training(const Device& device, DType type, std::uint64_t seed)
    : network(device, seed, type),
      average(device, seed, type),
      batch(device),
      optimizer(network.parameters, {.weight_decay = 0.01, .clip_norm = 1}),
      moving_(average.parameters, network.parameters, 0.9) {}

Tensor Training::step(Executor& executor) const {
  Tape tape(executor);
  optimizer.zero_gradients(tape);
  const Tensor loss = network.loss(tape, batch);
  tape.backward(loss);
  optimizer.update(tape);
  moving_.update(tape);
  return loss;
}

void Training::prepare(int step) {
  batch.fill(step);
  optimizer.prepare(step, 1e-2);
}

}  // namespace anaphase::test
