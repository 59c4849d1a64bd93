// SPDX-License-Identifier: Apache-2.0
#include "engine/optimizer.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/ops/ops.hpp"
#include "kernels/common/philox.hpp"
#include "tests/engine/devices.hpp"
#include "tests/engine/op_cases.hpp"

using namespace anaphase;
using namespace anaphase::engine;
using anaphase::test::read;

namespace {

using Values = std::vector<float>;

/// A weight (decayed) and a bias (not), with gradients to be set by hand.
struct Pair {
  explicit Pair(const Device& device) {
    weight = set.declare("weight", {3, 5}, uniform_by_fan_in(2));
    bias = set.declare("bias", {4}, {.constant = 0.5});
    set.materialise(device, 12);
  }
  /// Gradients of step `step`, about `size` large.
  void set_gradients(int step, float size) const {
    kernels::PhiloxStream random(kernels::mix_key(3, step));
    for (const Tensor& parameter : {weight, bias}) {
      Values g(parameter.count());
      for (float& value : g) value = size * (2 * random.uniform() - 1);
      upload(parameter.gradient(), g);
    }
  }
  ParameterSet set;
  Tensor weight, bias;
};

/// One parameter's update by the formula, in double. The options below, their powers and the
/// learning rates are numbers that floats hold exactly, so that nothing is rounded on the way to
/// the kernels.
struct Scalar {
  double value, first = 0, second = 0;

  void adamw(const OptimizerOptions& o, int step, double lr, double g, double decay) {
    first = o.beta1 * first + (1 - o.beta1) * g;
    second = o.beta2 * second + (1 - o.beta2) * g * g;
    const double corrected1 = first / (1 - std::pow(o.beta1, step + 1));
    const double corrected2 = second / (1 - std::pow(o.beta2, step + 1));
    value -= lr * (corrected1 / (std::sqrt(corrected2) + o.epsilon) + decay * value);
  }
  void sgd(const OptimizerOptions& o, double lr, double g, double decay) {
    first = o.momentum * first + g + decay * value;
    value -= lr * first;
  }
};

void check_five_steps(const Device& device, const OptimizerOptions& options, float gradient_size,
                      double tolerance) {
  Pair network(device);
  Optimizer optimizer(network.set, options);
  Eager eager(device);
  std::vector<std::pair<Tensor, std::vector<Scalar>>> expected;
  for (const Tensor& parameter : {network.weight, network.bias}) {
    std::vector<Scalar> scalars;
    for (const double value : read(parameter)) scalars.push_back({value});
    expected.emplace_back(parameter, scalars);
  }
  for (int step = 0; step < 5; ++step) {
    const double lr = 0x1p-7 * (step + 1);
    network.set_gradients(step, gradient_size);
    optimizer.prepare(step, lr);
    Tape tape(eager);
    optimizer.update(tape);

    double square = 0;
    for (const auto& [parameter, scalars] : expected)
      for (const double g : read(parameter.gradient())) square += g * g;
    const double norm = std::sqrt(square);
    CHECK(std::abs(read(optimizer.gradient_norm())[0] - norm) <= tolerance * norm);
    const double limit = options.clip_norm;
    const double scale = limit > 0 && norm > limit ? limit / norm : 1;

    for (auto& [parameter, scalars] : expected) {
      const double decay = parameter.id() == network.weight.id() ? options.weight_decay : 0;
      const std::vector<double> g = read(parameter.gradient()), actual = read(parameter);
      for (std::size_t i = 0; i < scalars.size(); ++i) {
        if (options.kind == OptimizerOptions::Kind::sgd)
          scalars[i].sgd(options, lr, scale * g[i], decay);
        else
          scalars[i].adamw(options, step, lr, scale * g[i], decay);
        CAPTURE(step);
        CHECK(std::abs(actual[i] - scalars[i].value) <= tolerance);
      }
    }
  }
}

}  // namespace

// On the reference device only the order of roundings differs. In float, five steps round some
// fifty times on values below 1: 50 * 2^-24 = 3e-6, and less on the average.
TEST_CASE("AdamW and SGD follow their formulas over five steps") {
  using Kind = OptimizerOptions::Kind;
  std::vector<std::pair<Device, double>> tested{{Device::reference(), 1e-12}};
  for (const Device& device : test::devices()) tested.emplace_back(device, 3e-6);
  for (const auto& [device, tolerance] : tested)
    for (const OptimizerOptions& options :
         {OptimizerOptions{.beta1 = 0.875, .beta2 = 0.9375, .epsilon = 0x1p-20},
          OptimizerOptions{.beta1 = 0.5, .beta2 = 0.75, .epsilon = 0.125, .weight_decay = 0.25},
          OptimizerOptions{.beta1 = 0.875,
          .beta2 = 0.9375,
          .epsilon = 0x1p-20,
          .weight_decay = 0.125,
          .clip_norm = 0.5},
          OptimizerOptions{.kind = Kind::sgd, .momentum = 0.875},
          OptimizerOptions{.kind = Kind::sgd, .momentum = 0, .weight_decay = 0.125},
          OptimizerOptions{
              .kind = Kind::sgd, .momentum = 0.75, .weight_decay = 0.125, .clip_norm = 0.5}})
      for (const float gradient_size : {0.01F, 1.0F}) {  // below and above the limit of clipping
        CAPTURE(device.name());
        CAPTURE(options.kind == Kind::sgd);
        CAPTURE(options.weight_decay);
        CAPTURE(options.clip_norm);
        CAPTURE(gradient_size);
        check_five_steps(device, options, gradient_size, tolerance);
      }
}

TEST_CASE("gradients are cleared") {
  const Pair network(Device::cpu());
  const Optimizer optimizer(const_cast<ParameterSet&>(network.set), {});
  network.set_gradients(1, 1);
  Eager eager(Device::cpu());
  Tape tape(eager);
  optimizer.zero_gradients(tape);
  CHECK(download(network.set.gradients()) == Values(network.set.count(), 0));
}

TEST_CASE("a step with a gradient that is not finite changes nothing and says so") {
  for (const auto kind : {OptimizerOptions::Kind::adamw, OptimizerOptions::Kind::sgd})
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Pair network(Device::cpu());
      Optimizer optimizer(network.set, {.kind = kind, .weight_decay = 0.1, .clip_norm = 1});
      Eager eager(Device::cpu());
      const auto step = [&](int number) {
        optimizer.prepare(number, 0.1);
        Tape tape(eager);
        optimizer.update(tape);
      };
      const auto everything = [&] {
        std::vector<Values> all{download(network.set.values())};
        for (const Optimizer::State& part : optimizer.state()) all.push_back(download(part.tensor));
        return all;
      };
      network.set_gradients(0, 1);
      step(0);
      const auto before = everything();
      Values g = download(network.bias.gradient());
      g[2] = bad;
      upload(network.bias.gradient(), g);
      step(1);
      CHECK(everything() == before);
      CHECK_FALSE(std::isfinite(download_scalar(optimizer.gradient_norm())));
      network.set_gradients(2, 1);
      step(2);
      CHECK(everything() != before);
      CHECK(std::isfinite(download_scalar(optimizer.gradient_norm())));
    }
}

TEST_CASE("with bf16 activations, weights and optimiser keep float precision") {
  if (test::activation_types(Device::cpu()).back() != DType::bf16) return;
  ParameterSet set;
  const Tensor weight = set.declare("weight", {1, 2}, {.constant = 1});
  set.materialise(Device::cpu(), 1);
  Optimizer optimizer(set, {.kind = OptimizerOptions::Kind::sgd, .momentum = 0});
  const Tensor x = make_tensor(Device::cpu(), {1, 2}, DType::bf16);
  upload(x, Values{1, 2});
  Eager eager(Device::cpu());
  optimizer.prepare(0, 0x1p-12);
  Tape tape(eager);
  const Tensor y = linear(tape, x, weight, {});
  CHECK(y.type() == DType::bf16);
  tape.backward(y);
  optimizer.update(tape);
  CHECK(weight.type() == DType::f32);
  CHECK(weight.gradient().type() == DType::f32);
  for (const Optimizer::State& part : optimizer.state()) CHECK(part.tensor.type() == DType::f32);
  // Steps far below what bf16 keeps next to 1, which is 2^-9.
  CHECK(download(weight) == Values{1 - 0x1p-12F, 1 - 0x1p-11F});
}

TEST_CASE("learning rates over the steps") {
  using Kind = LearningRate::Kind;
  const LearningRate constant{.kind = Kind::constant, .base = 0.5, .warmup = 3};
  CHECK(constant.at(0) == doctest::Approx(0.125));
  CHECK(constant.at(1) == doctest::Approx(0.25));
  CHECK(constant.at(2) == doctest::Approx(0.375));
  CHECK(constant.at(3) == 0.5);
  CHECK(constant.at(1000000) == 0.5);
  CHECK(LearningRate{.base = 0.5}.at(0) == 0.5);

  const LearningRate step{.kind = Kind::step, .base = 1, .warmup = 2, .every = 10, .factor = 0.1};
  CHECK(step.at(0) == doctest::Approx(1.0 / 3));
  CHECK(step.at(2) == 1);
  CHECK(step.at(11) == 1);
  CHECK(step.at(12) == doctest::Approx(0.1));
  CHECK(step.at(32) == doctest::Approx(0.001));

  const LearningRate cosine{.kind = Kind::cosine, .base = 2, .warmup = 4, .total = 16};
  CHECK(cosine.at(3) == doctest::Approx(1.6));
  CHECK(cosine.at(4) == 2);
  CHECK(cosine.at(7) == doctest::Approx(1 + std::sqrt(0.5)));  // a quarter of the way
  CHECK(cosine.at(10) == doctest::Approx(1));
  CHECK(cosine.at(12) == doctest::Approx(0.5));  // two thirds: 1 + cos(120 degrees)
  CHECK(std::abs(cosine.at(16)) < 1e-12);
  CHECK(std::abs(cosine.at(99)) < 1e-12);  // stays there
}

TEST_CASE("a moving average starts as a copy and follows values and buffers") {
  std::vector<std::pair<Device, double>> tested{{Device::reference(), 1e-7}};
  for (const Device& device : test::devices()) tested.emplace_back(device, 1e-6);
  for (const auto& [device, tolerance] : tested) {
    const auto make = [device = device](std::uint64_t seed) {
      ParameterSet set;
      set.declare("weight", {2, 3}, uniform_by_fan_in(3));
      set.declare_buffer("mean", {2}, static_cast<double>(seed));
      set.materialise(device, seed);
      return set;
    };
    const ParameterSet source = make(1);
    ParameterSet average = make(2);
    const MovingAverage moving(average, source, 0.75);
    CHECK(download(average.values()) == download(source.values()));
    CHECK(download(average.buffers()) == download(source.buffers()));

    upload(source.find("weight"), Values(6, 4));
    upload(source.find("mean"), Values{5, 9});
    const std::vector<double> start = read(average.find("weight"));
    Eager eager(device);
    for (int i = 0; i < 2; ++i) {
      Tape tape(eager);
      moving.update(tape);
    }
    // 0.75^2 of the start, the rest of the source; the buffer started as 1.
    const std::vector<double> weight = read(average.find("weight"));
    const std::vector<double> mean = read(average.find("mean"));
    for (std::size_t i = 0; i < 6; ++i)
      CHECK(std::abs(weight[i] - (0.5625 * start[i] + 0.4375 * 4)) <= tolerance);
    CHECK(std::abs(mean[0] - (0.5625 + 0.4375 * 5)) <= tolerance);
    CHECK(std::abs(mean[1] - (0.5625 + 0.4375 * 9)) <= tolerance);
    CHECK(download(source.find("mean")) == Values{5, 9});
  }
}
