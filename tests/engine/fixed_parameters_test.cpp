// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>

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

/// Two convolutions, large enough for Winograd's algorithm and not, a batch norm between them that
/// is folded where it can be, and a linear layer.
struct Layers {
  Tensor x, first, gamma, beta, mean, variance, second, weight;
  Layers(const Device& device, DType type)
      : x(make_tensor(device, {1, 16, 16, 32}, type)),
        first(make_tensor(device, {32, 3, 3, 32}, DType::f32)),
        gamma(make_tensor(device, {32}, DType::f32)),
        beta(make_tensor(device, {32}, DType::f32)),
        mean(make_tensor(device, {32}, DType::f32)),
        variance(make_tensor(device, {32}, DType::f32)),
        second(make_tensor(device, {5, 3, 3, 32}, DType::f32)),
        weight(make_tensor(device, {7, 5}, DType::f32)) {
    upload(x, wave(x.count(), 0.37F));
    set_parameters(0.11F);
  }
  void set_parameters(float frequency) const {
    for (const Tensor& parameter : {first, gamma, beta, mean, second, weight})
      upload(parameter, wave(parameter.count(), frequency));
    std::vector<float> positive = wave(variance.count(), 3 * frequency);
    for (float& value : positive) value = 1.5F + value;
    upload(variance, positive);
  }
  Tensor operator()(Tape& tape) const {
    return linear(tape, conv(tape, normalised(tape), second, {}, {.padding = 1}), weight, {}, {});
  }

 private:
  Tensor normalised(Tape& tape) const {
    constexpr auto relu = Activation::leaky_relu;
    if (!tape.parameters_are_fixed())
      return batch_norm(tape, conv(tape, x, first, {}, {.padding = 1}), gamma, beta, mean, variance,
                        {.training = false, .activation = relu});
    const Layer folded = fold_batch_norm(tape, first, {}, gamma, beta, mean, variance);
    return conv(tape, x, folded.weight, folded.bias, {.padding = 1, .activation = relu});
  }
};

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
      const auto check_close = [&](const std::vector<float>& expected,
                                   const std::vector<float>& actual) {
        double square = 0, difference = 0;
        for (std::size_t i = 0; i < expected.size(); ++i) {
          square += expected[i] * expected[i];
          difference += std::pow(expected[i] - actual[i], 2);
        }
        // Four roundings of values to bf16 (2^-9), or the errors of sums of 288 products; the sums
        // are some times smaller than their terms.
        CHECK(std::sqrt(difference / square) < (type == DType::bf16 ? 0x1p-6 : 1e-4));
      };
      Trace trace(device, Trace::Parameters::fixed);
      Tape tape(trace, Tape::Mode::infer);
      const Tensor y = layers(tape);
      Program program = trace.finish({y});

      program.replay();
      const std::vector<float> before = download(y);
      check_close(eager(), before);
      layers.set_parameters(0.23F);
      program.replay();
      if (device == Device::cpu()) CHECK(download(y) == before);
      program.parameters_changed();
      program.replay();
      CHECK(download(y) != before);
      check_close(eager(), download(y));
    }
  }
}
