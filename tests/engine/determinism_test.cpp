// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <omp.h>

#include "tests/engine/devices.hpp"
#include "tests/engine/op_cases.hpp"
#include "tests/engine/small_network.hpp"

#if defined(ANAPHASE_WITH_SIMT)
#include "kernels/simt/executor.hpp"
#endif

using namespace anaphase;
using namespace anaphase::engine;
using namespace anaphase::test;

namespace {

struct Threads {
  explicit Threads(int count) { omp_set_num_threads(count); }
  ~Threads() { omp_set_num_threads(before); }
  int before = omp_get_max_threads();
};

/// Weights, averages and running statistics after three steps.
std::vector<std::vector<double>> trained(const Device& device, int threads, DType type,
                                         std::uint64_t seed) {
  const Threads set(threads);
  Training training(device, type, seed);
  Eager eager(device);
  for (int step = 0; step < 3; ++step) {
    training.prepare(step);
    training.step(eager);
  }
  return {read(training.network.parameters.values()), read(training.network.parameters.buffers()),
          read(training.average.parameters.values())};
}

}  // namespace

TEST_CASE("the same seed trains to the same bits, another seed to others") {
  for (const Device& device : devices())
    for (const DType type : activation_types(device)) {
      CAPTURE(device.name());
      const auto first = trained(device, 2, type, 1);
      CHECK(trained(device, 2, type, 1) == first);
      CHECK(trained(device, 2, type, 2) != first);
    }
}

TEST_CASE("a later change of the number of threads does not change a bit") {
  for (const Device& device : devices())
    for (const DType type : activation_types(device))
      CHECK_MESSAGE(trained(device, 1, type, 1) == trained(device, 2, type, 1), device.name());
}

#if defined(ANAPHASE_WITH_SIMT)
TEST_CASE("the order in which a GPU's blocks, warps and lanes take turns does not change a bit") {
  for (const DType type : {DType::f32, DType::bf16}) {
    const auto expected = trained(Device::simt(), 2, type, 1);
    const std::uint64_t before = simt::order_seed();
    for (const std::uint64_t seed : {1, 2}) {
      simt::set_order_seed(seed);
      CHECK(trained(Device::simt(), 2, type, 1) == expected);
    }
    simt::set_order_seed(before);
  }
}
#endif

namespace {

/// Uses of the operations that are large enough for every kernel to share its work among threads.
std::vector<OpCase> large_cases() {
  using Inputs = const std::vector<Tensor>&;
  const Shape image{2, 40, 52, 16};
  const auto labels = [](Tape& tape) {
    const Tensor tensor = make_tensor(tape.device(), {2, 40, 52}, DType::i32);
    std::vector<std::int32_t> values(tensor.count());
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<int>(i * i / 7 % 17) - 1;
    upload(tensor, values);
    return tensor;
  };
  const auto vector = [](Tape& tape, float value) {
    const Tensor tensor = make_tensor(tape.device(), {16}, tape.device().float_type());
    upload(tensor, std::vector<float>(16, value));
    return tensor;
  };
  std::vector<OpCase> cases;
  const auto add = [&](std::string name, std::vector<OpInput> inputs, Differentiable function) {
    cases.push_back({std::move(name), "large", std::move(inputs), std::move(function)});
  };
  add("conv", {{image}, {{24, 3, 3, 16}}, {{24}}},
      [](Tape& tape, Inputs in) { return conv(tape, in[0], in[1], in[2], {.padding = 1}); });
  add("conv 3-D", {{{1, 12, 20, 20, 8}}, {{8, 3, 3, 3, 8}}}, [](Tape& tape, Inputs in) {
    return conv(tape, in[0], in[1], {}, {.stride = 2, .padding = 1});
  });
  add("linear", {{{4096, 24}}, {{32, 24}}, {{32}}},
      [](Tape& tape, Inputs in) { return linear(tape, in[0], in[1], in[2]); });
  add("group_norm", {{image}, {{16}}, {{16}}, {{2, 32}}}, [](Tape& tape, Inputs in) {
    return group_norm(tape, in[0], in[1], in[2], 4, in[3], Activation::silu);
  });
  add("batch_norm", {{image}, {{16}}, {{16}}}, [=](Tape& tape, Inputs in) {
    return batch_norm(tape, in[0], in[1], in[2], vector(tape, 0), vector(tape, 1), {});
  });
  add("attention", {{{2, 17, 19, 48}}},
      [](Tape& tape, Inputs in) { return attention(tape, in[0], 2); });
  add("resample", {{image}}, [](Tape& tape, Inputs in) {
    return resample(tape, in[0], {70, 31}, ResampleMode::linear);
  });
  add("max_pool", {{image}}, [](Tape& tape, Inputs in) { return max_pool(tape, in[0]); });
  add("add_per_sample", {{image}, {{2, 16}}},
      [](Tape& tape, Inputs in) { return add_per_sample(tape, in[0], in[1]); });
  add("dice_loss", {{image}},
      [=](Tape& tape, Inputs in) { return dice_loss(tape, in[0], labels(tape)); });
  add("cross_entropy_loss", {{image}},
      [=](Tape& tape, Inputs in) { return cross_entropy_loss(tape, in[0], labels(tape)); });
  add("mean_squared_error", {{image}, {image}},
      [](Tape& tape, Inputs in) { return mean_squared_error(tape, in[0], in[1]); });
  add("class_use", {{image}},
      [=](Tape& tape, Inputs in) { return class_use(tape, in[0], vector(tape, 1.0F / 16)).loss; });
  return cases;
}

}  // namespace

TEST_CASE("operations give the same bits with one thread, with two and with three") {
  for (const OpCase& op : large_cases()) {
    const auto values = [&op](int threads) {
      const Threads set(threads);
      Eager eager(Device::cpu());
      std::vector<std::vector<double>> all;
      for (const Tensor& tensor : evaluate(op, eager).all())
        if (tensor) all.push_back(read(tensor));
      return all;
    };
    const auto one = values(1);
    CHECK_MESSAGE(values(2) == one, op.operation);
    CHECK_MESSAGE(values(3) == one, op.operation);
  }
}
