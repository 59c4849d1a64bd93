// SPDX-License-Identifier: Apache-2.0
#include "engine/program.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "tests/engine/counted_new.hpp"
#include "tests/engine/devices.hpp"
#include "tests/engine/op_cases.hpp"
#include "tests/engine/small_network.hpp"

using namespace anaphase;
using namespace anaphase::engine;
using namespace anaphase::test;

namespace {

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

/// Runs calls at once, each with the memory of all tensors that it does not name put out of its
/// reach.
struct Strict final : Executor {
  using Executor::Executor;
  Tensor allocate(Shape shape, DType type) override {
    const Tensor tensor = eager.allocate(std::move(shape), type);
    fill_with_nan(tensor);
    allocated.push_back(tensor);
    return tensor;
  }
  void run(Call call) override {
    std::set<Storage*> named;
    for (const auto* tensors : {&call.reads, &call.writes})
      for (const Tensor& tensor : *tensors)
        if (tensor) named.insert(tensor.storage().get());
    std::vector<Tensor> decoys;
    for (const Tensor& tensor : allocated)
      if (!named.contains(tensor.storage().get())) {
        decoys.push_back(eager.allocate(tensor.shape(), tensor.type()));
        fill_with_nan(decoys.back());
        tensor.storage()->data = static_cast<std::byte*>(decoys.back().data());
      }
    eager.run(std::move(call));
    for (const Tensor& tensor : allocated) tensor.storage()->data = tensor.storage()->owner.get();
  }
  Eager eager{device()};
  std::vector<Tensor> allocated;
};

/// Makes all calls when it is told to, as often as it is.
struct Repeatable final : Executor {
  using Executor::Executor;
  Tensor allocate(Shape shape, DType type) override {
    return eager.allocate(std::move(shape), type);
  }
  void run(Call call) override { calls.push_back(std::move(call)); }
  void repeat() {
    for (const Call& call : calls) eager.run(call);
  }
  Eager eager{device()};
  std::vector<Call> calls;
};

/// The case with one more operation behind it: its result and the result's gradient are values
/// inside the computation.
OpCase followed(OpCase op) {
  op.function = [inner = op.function](Tape& tape, const std::vector<Tensor>& in) {
    return add_scaled(tape, inner(tape, in), {}, -0.75);
  };
  return op;
}

/// All of a training run's memory, to compare.
std::vector<std::vector<double>> state_of(const Training& training) {
  std::vector<std::vector<double>> state;
  for (const SmallNetwork* network : {&training.network, &training.average}) {
    state.push_back(read(network->parameters.values()));
    state.push_back(read(network->parameters.buffers()));
  }
  state.push_back(read(training.network.parameters.gradients()));
  state.push_back(read(training.optimizer.gradient_norm()));
  for (const Optimizer::State& part : training.optimizer.state())
    state.push_back(read(part.tensor));
  return state;
}

}  // namespace

// A tensor that an operation uses but does not name among its reads and writes would lose its
// memory to another in a program.
TEST_CASE("operations name all that they read and write") {
  const auto check = [](const Device& device, const OpCase& op) {
    Eager eager(device);
    Strict strict(device);
    const std::vector<Tensor> expected = evaluate(op, eager).all();
    const std::vector<Tensor> actual = evaluate(op, strict).all();
    for (std::size_t i = 0; i < expected.size(); ++i)
      CHECK_MESSAGE(
          same_bits(read(actual[i]), read(expected[i])),
          op.operation << ", " << op.variant << ", tensor " << i << " on " << device.name());
  };
  for (const Device& device : devices()) {
    for (const OpCase& op : differentiable_cases()) check(device, followed(op));
    for (const OpCase& op : constant_cases()) check(device, op);
  }
}

TEST_CASE("replaying any operation, forwards and backwards, gives the bits of eager execution") {
  for (const Device& device : devices())
    for (const OpCase& unfollowed : differentiable_cases()) {
      const OpCase op = followed(unfollowed);  // and only gradients have to last
      Eager eager(device);
      Trace trace(device);
      const std::vector<Tensor> expected = evaluate(op, eager).gradients;
      const std::vector<Tensor> actual = evaluate(op, trace).gradients;
      Program program = trace.finish(actual);
      for (int replay = 0; replay < 3; ++replay) {  // on a GPU: warm-up, capture, launch
        program.replay();
        for (std::size_t i = 0; i < expected.size(); ++i)
          CHECK_MESSAGE(same_bits(read(actual[i]), read(expected[i])),
                        op.operation << ", " << op.variant << ", input " << i << " on "
                                     << device.name() << ", replay " << replay);
      }
    }
}

TEST_CASE("replaying any operation forwards gives the bits of eager execution") {
  for (const Device& device : devices())
    for (const auto* cases : {&differentiable_cases(), &constant_cases()})
      for (const OpCase& op : *cases) {
        Repeatable eager(device);
        Trace trace(device);
        const Tensor expected = evaluate(op, eager).output, actual = evaluate(op, trace).output;
        Program program = trace.finish({actual});
        for (int replay = 0; replay < 2; ++replay) {
          eager.repeat();
          program.replay();
          CHECK_MESSAGE(same_bits(read(actual), read(expected)),
                        op.operation << ", " << op.variant << " on " << device.name());
        }
      }
}

TEST_CASE("a replayed training step gives the bits of eager steps, step after step") {
  for (const Device& device : devices())
    for (const DType type : activation_types(device)) {
      CAPTURE(device.name());
      CAPTURE(name_of(type));
      Training eager_training(device, type), traced_training(device, type);
      Trace trace(device);
      const Tensor traced_loss = traced_training.step(trace);
      Program program = trace.finish({traced_loss});
      CHECK(program.plan().peak_bytes < program.plan().total_bytes);
      std::set<double> losses;
      for (int step = 0; step < 4; ++step) {
        eager_training.prepare(step);
        traced_training.prepare(step);
        Eager eager(device);
        const double loss = download_scalar(eager_training.step(eager));
        program.replay();
        CHECK(std::isfinite(loss));
        CHECK(download_scalar(traced_loss) == loss);
        const auto expected = state_of(eager_training), actual = state_of(traced_training);
        for (std::size_t i = 0; i < expected.size(); ++i) CHECK(same_bits(actual[i], expected[i]));
        losses.insert(loss);
      }
      CHECK(losses.size() == 4);  // each input gave its own
    }
}

TEST_CASE(
    "the same program with the same input gives the same result, with another another result") {
  for (const Device& device : devices()) {
    CAPTURE(device.name());
    const SmallNetwork network(device, 4, DType::f32);
    const Batch batch(device);
    Trace trace(device);
    Tape tape(trace, Tape::Mode::infer);
    const Tensor y = network.logits(tape, batch);
    Program program = trace.finish({y});
    const auto result = [&](int input) {
      batch.fill(input);
      program.replay();
      return download(y);
    };
    const std::vector<float> first = result(1), second = result(2);
    CHECK(first != second);
    CHECK(result(1) == first);
  }
}

TEST_CASE("repeated steps learn their batch") {
  Training training(Device::cpu(), DType::f32);
  Trace trace(Device::cpu());
  const Tensor loss = training.step(trace);
  Program program = trace.finish({loss});
  training.prepare(0);
  program.replay();
  const double first = download_scalar(loss);
  for (int step = 1; step < 60; ++step) {
    training.optimizer.prepare(step, 1e-2);
    program.replay();
  }
  CHECK(download_scalar(loss) < 0.9 * first);
}

TEST_CASE("replays ask the engine for no memory") {
  for (const Device& device : devices()) {
    CAPTURE(device.name());
    Training training(device, DType::f32);
    Trace trace(device);
    const Tensor loss = training.step(trace);
    Program program = trace.finish({loss});
    training.prepare(0);
    program.replay();
    const MemoryUse before = memory_use();
    for (int step = 0; step < 3; ++step) {
      training.prepare(step);
      program.replay();
    }
    CHECK(memory_use().allocations == before.allocations);
    CHECK(memory_use().live_bytes == before.live_bytes);
    CHECK(memory_use().peak_bytes == before.peak_bytes);
  }
}

TEST_CASE("replays make no object on the heap") {
  REQUIRE(news_in([] { ::operator delete(::operator new(8)); }) == 1);  // they would be seen
  for (const auto* cases : {&differentiable_cases(), &constant_cases()})
    for (const OpCase& op : *cases) {
      Trace trace(Device::cpu());
      const std::vector<Tensor> results = evaluate(op, trace).all();
      Program program = trace.finish(results);
      program.replay();  // the first one makes oneDNN's primitives
      const int made = news_in([&] { program.replay(); });
      CHECK_MESSAGE(made == 0, op.operation << ", " << op.variant);
    }
  for (const DType type : activation_types(Device::cpu())) {
    Training training(Device::cpu(), type);
    Trace trace(Device::cpu());
    const Tensor loss = training.step(trace);
    Program program = trace.finish({loss});
    training.prepare(0);
    program.replay();
    CHECK(news_in([&] { program.replay(); }) == 0);
  }
}

TEST_CASE("a profile tells calls, time and work by name") {
  for (const Device& device : devices()) {
    CAPTURE(device.name());
    const Tensor x = make_tensor(device, {1, 8, 8, 3}, DType::f32);
    const Tensor weight = make_tensor(device, {4, 3, 3, 3}, DType::f32);
    Trace trace(device);
    Tape tape(trace);
    tape.watch(weight);
    const Tensor y = activate(tape, conv(tape, x, weight, {}, {.padding = 1}), Activation::silu);
    tape.backward(y);
    Program program = trace.finish({y});
    const auto profile = program.profile();
    std::set<std::string> names;
    for (const auto& [name, entry] : profile) {
      names.insert(name);
      CHECK(entry.calls == 1);
      CHECK(entry.seconds > 0);
      CHECK(entry.flops > 0);
    }
    CHECK(names == std::set<std::string>{"activation_backward", "activation_forward",
                                         "conv_forward", "conv_weight_gradient", "fill"});
    CHECK(profile.at("conv_forward").flops == 2.0 * 8 * 8 * 4 * 3 * 3 * 3);
    CHECK(profile.at("conv_forward").bytes == 4.0 * (8 * 8 * 3 + 4 * 3 * 3 * 3 + 8 * 8 * 4));
    for (const auto& [name, flops] : program.work()) CHECK(profile.at(name).flops == flops);
    CHECK(program.work().size() == names.size());
  }
}
