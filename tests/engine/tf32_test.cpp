// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/ops/ops.hpp"
#include "tests/engine/devices.hpp"

using namespace anaphase;
using namespace anaphase::engine;
using namespace anaphase::test;

namespace {

/// Positive, so that no sum cancels and its relative error stays that of its terms.
std::vector<float> wave(std::int64_t count, float frequency) {
  std::vector<float> values(count);
  for (std::int64_t i = 0; i < count; ++i)
    values[i] = 1 + std::sin(static_cast<float>(i) * frequency) / 2;
  return values;
}

struct Results {
  std::vector<float> y, dx, dconv, dlinear;
};

/// A convolution and a linear layer, forwards and backwards.
Results evaluate(const Device& device) {
  Eager eager(device);
  Tape tape(eager);
  const Tensor x = make_tensor(device, {1, 9, 9, 16}, DType::f32);
  const Tensor kernel = make_tensor(device, {32, 3, 3, 16}, DType::f32);
  const Tensor weight = make_tensor(device, {16, 32}, DType::f32);
  for (const Tensor& tensor : {x, kernel, weight}) {
    upload(tensor, wave(tensor.count(), 0.37F));
    tape.watch(tensor);
  }
  const Tensor y = linear(tape, conv(tape, x, kernel, {}, {.padding = 1}), weight, {}, {});
  tape.backward(y);
  return {download(y), download(tape.gradient(x)), download(tape.gradient(kernel)),
          download(tape.gradient(weight))};
}

}  // namespace

// Each factor loses up to 2^-11 of itself, in two layers one after the other.
TEST_CASE("a device that may multiply in tf32 does so, in every direction") {
  const auto check_close = [](const std::vector<float>& expected,
                              const std::vector<float>& actual) {
    double square = 0, difference = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      square += expected[i] * expected[i];
      difference += std::pow(expected[i] - actual[i], 2);
    }
    CHECK(std::sqrt(difference / square) < 4 * 0x1p-11);
  };
  for (const Device& device : gpus()) {
    CHECK(!device.allows_tf32());
    CHECK(device.with_tf32().with_own_queue().allows_tf32());
    const Results f32 = evaluate(device), tf32 = evaluate(device.with_tf32());
    const kernels::Stream stream = device.stream();
    const bool has_tf32 = kernels::gpu_runtime(stream.kind).facts(stream.index).major >= 8;
    for (const auto part : {&Results::y, &Results::dx, &Results::dconv, &Results::dlinear}) {
      CHECK((tf32.*part != f32.*part) == has_tf32);
      check_close(f32.*part, tf32.*part);
    }
  }
  const Results f32 = evaluate(Device::cpu()), tf32 = evaluate(Device::cpu().with_tf32());
  CHECK(tf32.y == f32.y);
}
