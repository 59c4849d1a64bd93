// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>

#include "tests/engine/devices.hpp"
#include "tests/engine/op_cases.hpp"
#include "tests/engine/small_network.hpp"

using namespace anaphase;
using namespace anaphase::engine;
using namespace anaphase::test;

namespace {

double root_mean_square(const std::vector<double>& values) {
  double square = 0;
  for (const double v : values) square += v * v;
  return std::sqrt(square / static_cast<double>(values.size()));
}

/// Elements that differ by more than tolerance * (|expected| + root mean square); NaN counts.
std::size_t differing(const std::vector<double>& actual, const std::vector<double>& expected,
                      double tolerance) {
  const double scale = root_mean_square(expected);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(actual[i] - expected[i]) <= tolerance * (std::abs(expected[i]) + scale)))
      ++wrong;
  return wrong;
}

// A float rounds by up to half an ulp, 2^-24 of its value; `roundings` of them on the way to a
// result, each on a term no larger than a few times the result's typical size, make an error of at
// most roundings * 2^-24 * 2. Approximations of exp and log in the kernels are good for some ulp
// and count among the 64 that every case is given at least.
void check_agreement(const OpCase& op, const Device& device) {
  Eager eager(device), reference(Device::reference());
  const std::vector<Tensor> actual = evaluate(op, eager).all();
  const std::vector<Tensor> expected = evaluate(op, reference).all();
  REQUIRE(actual.size() == expected.size());
  const double tolerance = op.roundings * 0x1p-23;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    CAPTURE(i);  // 0: the output, then the gradients of the inputs
    REQUIRE(actual[i]);
    CHECK(actual[i].shape() == expected[i].shape());
    const std::vector<double> values = read(actual[i]);
    CHECK_MESSAGE(differing(values, read(expected[i]), tolerance) == 0,
                  op.operation << ", " << op.variant << " on " << device.name());
  }
}

}  // namespace

TEST_CASE("values and gradients on every device agree with the reference device") {
  for (const Device& device : devices())
    for (const OpCase& op : differentiable_cases()) check_agreement(op, device);
}

TEST_CASE("values without gradients on every device agree with the reference device") {
  for (const Device& device : devices())
    for (const OpCase& op : constant_cases()) check_agreement(op, device);
}

TEST_CASE("the comparison sees an error and a NaN") {
  const std::vector<double> expected = {1, 2, 3};
  CHECK(differing({1, 2, 3}, expected, 1e-6) == 0);
  CHECK(differing({1, 2.001, 3}, expected, 1e-6) == 1);
  CHECK(differing({1, 2, NAN}, expected, 1e-6) == 1);
}

// bf16 keeps 8 bits: each stored activation is off by up to 2^-9 of its value. About thirty of them
// lie between the image and a weight's gradient; their errors have both signs, so the gradient as
// a whole (root mean square over a tensor) is off by some 2^-9 * sqrt(30) = 1 %. Normalisation and
// softmax of differences lose a few times that.
TEST_CASE("gradients with bf16 activations follow those in f32") {
  const auto gradients = [](const Device& device, DType type) {
    SmallNetwork network(device, 3, type);
    Eager eager(device);
    Tape tape(eager);
    const Batch batch(device);
    batch.fill(1);
    tape.backward(network.loss(tape, batch));
    std::vector<std::pair<std::string, std::vector<double>>> result;
    for (const ParameterSet::Entry& entry : network.parameters.entries())
      if (entry.trainable) result.emplace_back(entry.name, read(entry.tensor.gradient()));
    return result;
  };
  const auto expected = gradients(Device::reference(), DType::f64);
  for (const Device& device : devices()) {
    CAPTURE(device.name());
    for (const DType type : activation_types(device)) {
      const auto actual = gradients(device, type);
      for (std::size_t k = 0; k < expected.size(); ++k) {
        const auto& [name, values] = expected[k];
        CAPTURE(name);
        const double scale = root_mean_square(values);
        REQUIRE(scale > 0);
        std::vector<double> difference(values.size());
        for (std::size_t i = 0; i < values.size(); ++i)
          difference[i] = actual[k].second[i] - values[i];
        CHECK(root_mean_square(difference) / scale <= (type == DType::bf16 ? 0.05 : 1e-4));
      }
    }
  }
}
