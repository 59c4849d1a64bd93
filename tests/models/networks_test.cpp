// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <memory>

#include "engine/program.hpp"
#include "kernels/common/error.hpp"
#include "models/networks/network.hpp"

namespace anaphase::test {
using namespace models;
using namespace engine;

namespace {

std::int64_t parameter_count(const Network& network) {
  std::int64_t count = 0;
  for (const auto& entry : network.parameters().entries())
    if (entry.trainable) count += entry.tensor.count();
  return count;
}

Tensor input(const Device& device, const Shape& shape, float scale) {
  const Tensor x = make_tensor(device, shape, device.float_type());
  std::vector<float> values(x.count());
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = scale * std::sin(static_cast<float>(i) * 0.37F);
  upload(x, values);
  return x;
}

Tensor timesteps(const Device& device, std::vector<std::int32_t> t) {
  const Tensor tensor = make_tensor(device, {static_cast<std::int64_t>(t.size())}, DType::i32);
  upload(tensor, t);
  return tensor;
}

std::vector<float> run(const Network& network, const Device& device, const Shape& shape,
                       std::vector<std::int32_t> t, float scale = 1) {
  Eager eager(device);
  Tape tape(eager, Tape::Mode::infer);
  Randomness random{make_tensor(device, {shape[0]}, DType::u64)};
  const Tensor time = t.empty() ? Tensor{} : timesteps(device, std::move(t));
  const Tensor y = network.forward(tape, input(device, shape, scale), time, random, false);
  CHECK(y.shape() == Shape{shape[0], shape[1], shape[2], network.options().out_channels});
  return download(y);
}

}  // namespace

TEST_CASE("the authors' network has the published size") {
  // 7.4 M parameters and 4.87 G multiply-adds for one 128 x 128 RGB image with a two-class mask at
  // width 64
  const auto network =
      make_network({.architecture = "plain", .in_channels = 5, .out_channels = 2, .width = 64});
  CHECK(static_cast<double>(parameter_count(*network)) == doctest::Approx(7.4e6).epsilon(0.02));

  network->parameters().materialise(Device::cpu(), 0);
  Trace trace(Device::cpu());
  Tape tape(trace, Tape::Mode::infer);
  Randomness random{make_tensor(Device::cpu(), {1}, DType::u64)};
  const Tensor y = network->forward(tape, make_tensor(Device::cpu(), {1, 128, 128, 5}, DType::f32),
                                    timesteps(Device::cpu(), {0}), random, false);
  double flops = 0;
  Program program = trace.finish({y});
  for (const auto& [name, profile] : program.profile())
    if (name.starts_with("conv")) flops += profile.flops;
  CHECK(flops / 2 == doctest::Approx(4.87e9).epsilon(0.02));
}

TEST_CASE("networks keep the resolution and feel the timestep") {
  const Device cpu = Device::cpu();
  for (const char* architecture : {"unet", "plain"})
    for (const char* norm : {"batch", "group"}) {
      CAPTURE(architecture);
      CAPTURE(norm);
      const auto network = make_network({.architecture = architecture,
                                         .in_channels = 5,
                                         .out_channels = 3,
                                         .width = 8,
                                         .norm = norm});
      network->parameters().materialise(cpu, 1);
      const std::vector<float> early = run(*network, cpu, {1, 16, 32, 5}, {10});
      const std::vector<float> late = run(*network, cpu, {1, 16, 32, 5}, {900});
      double difference = 0;
      for (std::size_t i = 0; i < early.size(); ++i) {
        REQUIRE(std::isfinite(early[i]));
        difference = std::max(difference, static_cast<double>(std::abs(early[i] - late[i])));
      }
      CHECK(difference > 1e-4);
    }
}

TEST_CASE("samples of a batch do not see each other") {
  const Device cpu = Device::cpu();
  for (const char* architecture : {"unet", "plain"}) {
    CAPTURE(architecture);
    const auto network = make_network({.architecture = architecture,
                                       .in_channels = 4,
                                       .out_channels = 2,
                                       .width = 8,
                                       .norm = "batch"});
    network->parameters().materialise(cpu, 1);
    const std::vector<float> both = run(*network, cpu, {2, 16, 16, 4}, {5, 700});
    const std::vector<float> first = run(*network, cpu, {1, 16, 16, 4}, {5});
    for (std::size_t i = 0; i < first.size(); ++i) REQUIRE(both[i] == first[i]);
  }
}

TEST_CASE("the CPU agrees with the reference device") {
  for (const char* architecture : {"unet", "plain"}) {
    CAPTURE(architecture);
    std::vector<std::vector<float>> results;
    for (const Device& device : {Device::reference(), Device::cpu()}) {
      const auto network = make_network({.architecture = architecture,
                                         .in_channels = 3,
                                         .out_channels = 2,
                                         .width = 8,
                                         .norm = "group"});
      network->parameters().materialise(device, 3);
      results.push_back(run(*network, device, {1, 16, 16, 3}, {321}));
    }
    // Some 40 layers, each with a rounding of about 2^-24 relative to values of order 1
    for (std::size_t i = 0; i < results[0].size(); ++i)
      CHECK(results[1][i] == doctest::Approx(results[0][i]).epsilon(1e-4));
  }
}

TEST_CASE(
    "where parameters are fixed, a plain network's batch norms are part of its convolutions") {
  const Device cpu = Device::cpu();
  const auto network =
      make_network({.architecture = "plain", .in_channels = 4, .out_channels = 2, .width = 8});
  network->parameters().materialise(cpu, 3);
  for (const auto& entry : network->parameters().entries()) {
    if (entry.trainable) continue;  // running means, and variances of 1 and more
    std::vector<float> values = download(entry.tensor);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.5F * static_cast<float>(i % 3);
    upload(entry.tensor, values);
  }
  const Shape shape{1, 32, 32, 4};
  Trace trace(cpu, Trace::Parameters::fixed);
  Tape tape(trace, Tape::Mode::infer);
  Randomness random{make_tensor(cpu, {1}, DType::u64)};
  const Tensor y =
      network->forward(tape, input(cpu, shape, 1), timesteps(cpu, {70}), random, false);
  Program program = trace.finish({y});
  CHECK_FALSE(program.work().contains("batch_norm_forward"));
  program.replay();
  const std::vector<float> folded = download(y), expected = run(*network, cpu, shape, {70});
  for (std::size_t i = 0; i < expected.size(); ++i)
    REQUIRE(folded[i] == doctest::Approx(expected[i]).epsilon(1e-4));
}

TEST_CASE("a network without time takes no timestep") {
  const auto network = make_network(
      {.architecture = "unet", .in_channels = 3, .out_channels = 2, .width = 8, .time = false});
  network->parameters().materialise(Device::cpu(), 1);
  CHECK(run(*network, Device::cpu(), {1, 8, 8, 3}, {}).size() == 8 * 8 * 2);
}

TEST_CASE("sides that do not fit are refused") {
  const auto network =
      make_network({.architecture = "unet", .in_channels = 3, .out_channels = 2, .width = 8});
  network->parameters().materialise(Device::cpu(), 1);
  CHECK_THROWS_AS(run(*network, Device::cpu(), {1, 12, 16, 3}, {1}), Error);
}

}  // namespace anaphase::test
