// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "engine/ops/ops.hpp"
#include "engine/program.hpp"
#include "tests/engine/devices.hpp"

using namespace anaphase;
using namespace anaphase::engine;
using namespace anaphase::test;

namespace {

std::vector<float> wave(std::int64_t count, float frequency) {
  std::vector<float> values(count);
  for (std::int64_t i = 0; i < count; ++i) values[i] = std::sin(static_cast<float>(i) * frequency);
  return values;
}

/// Without the order that lets sums of waves' products cancel.
std::vector<float> noise(std::int64_t count, std::uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values)
    value = low + (high - low) * static_cast<float>(random() >> 8) * 0x1p-24F;
  return values;
}

/// Two convolutions, large enough for Winograd's algorithm and not, and a linear layer.
struct Layers {
  Tensor x, first, second, weight;
  Layers(const Device& device, DType type)
      : x(make_tensor(device, {1, 16, 16, 32}, type)),
        first(make_tensor(device, {32, 3, 3, 32}, DType::f32)),
        second(make_tensor(device, {5, 3, 3, 32}, DType::f32)),
        weight(make_tensor(device, {7, 5}, DType::f32)) {
    upload(x, wave(x.count(), 0.37F));
    set_parameters(0.11F);
  }
  void set_parameters(float frequency) const {
    for (const Tensor& parameter : {first, second, weight})
      upload(parameter, wave(parameter.count(), frequency));
  }
  Tensor operator()(Tape& tape) const {
    const Tensor h = conv(tape, x, first, {}, {.padding = 1});
    return linear(tape, conv(tape, h, second, {}, {.padding = 1}), weight, {}, {});
  }
};

void check_close(DType type, const std::vector<float>& expected, const std::vector<float>& actual) {
  double square = 0, difference = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    square += expected[i] * expected[i];
    difference += std::pow(expected[i] - actual[i], 2);
  }
  // Three roundings of values to bf16 (2^-9), or the errors of sums of 288 products.
  CHECK(std::sqrt(difference / square) < (type == DType::bf16 ? 0x1p-7 : 1e-5));
}

}  // namespace

TEST_CASE("what depends on parameters alone is derived once, and again when they have changed") {
  for (const Device& device : devices()) {
    for (const DType type : activation_types(device)) {
      CAPTURE(device.name());
      const Layers layers(device, type);
      const auto eager = [&] {
        Eager executor(device);
        Tape tape(executor, Tape::Mode::infer);
        return download(layers(tape));
      };
      Trace trace(device, Trace::Parameters::fixed);
      Tape tape(trace, Tape::Mode::infer);
      const Tensor y = layers(tape);
      Program program = trace.finish({y});

      program.replay();
      const std::vector<float> before = download(y);
      check_close(type, eager(), before);
      layers.set_parameters(0.23F);
      program.replay();
      if (device == Device::cpu()) CHECK(download(y) == before);
      program.parameters_changed();
      program.replay();
      CHECK(download(y) != before);
      check_close(type, eager(), download(y));
    }
  }
}

TEST_CASE("a folded batch norm follows its parameters and running statistics") {
  for (const Device& device : devices()) {
    for (const DType type : activation_types(device)) {
      CAPTURE(device.name());
      const auto parameter = [&](const Shape& shape) {
        return make_tensor(device, shape, DType::f32);
      };
      const Tensor x = make_tensor(device, {1, 16, 16, 32}, type);
      const Tensor weight = parameter({32, 3, 3, 32}), bias = parameter({32}),
                   gamma = parameter({32}), beta = parameter({32}), mean = parameter({32}),
                   variance = parameter({32});
      const auto set = [&](std::uint32_t seed) {
        for (const Tensor& tensor : {weight, bias, gamma, beta, mean})
          upload(tensor, noise(tensor.count(), seed++));
        upload(variance, noise(variance.count(), seed, 0.5F, 2));
      };
      const auto eager = [&] {
        Eager executor(device);
        Tape tape(executor, Tape::Mode::infer);
        return download(batch_norm(tape, conv(tape, x, weight, bias, {.padding = 1}), gamma, beta,
                                   mean, variance,
                                   {.training = false, .activation = Activation::leaky_relu}));
      };
      upload(x, noise(x.count(), 1));
      set(10);
      Trace trace(device, Trace::Parameters::fixed);
      Tape tape(trace, Tape::Mode::infer);
      const Layer folded = fold_batch_norm(tape, weight, bias, gamma, beta, mean, variance);
      const Tensor y = conv(tape, x, folded.weight, folded.bias,
                            {.padding = 1, .activation = Activation::leaky_relu});
      Program program = trace.finish({y});

      program.replay();
      check_close(type, eager(), download(y));
      set(20);
      program.parameters_changed();
      program.replay();
      check_close(type, eager(), download(y));
    }
  }
}
