// SPDX-License-Identifier: Apache-2.0
#include "engine/tape.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

#include "engine/ops/ops.hpp"
#include "engine/parameters.hpp"
#include "kernels/common/error.hpp"

using namespace anaphase;
using namespace anaphase::engine;

namespace {

using Values = std::vector<float>;

Tensor tensor(Shape shape, const Values& values) {
  const Tensor t = make_tensor(Device::cpu(), std::move(shape), DType::f32);
  upload(t, values);
  return t;
}

Tensor zeros(Shape shape) {
  return make_tensor(Device::cpu(), std::move(shape), DType::f32);
}

/// Executes at once and counts.
struct Counting final : Executor {
  using Executor::Executor;
  Tensor allocate(Shape shape, DType type) override { return eager.allocate(shape, type); }
  void run(Call call) override {
    names.push_back(call.name);
    eager.run(std::move(call));
  }
  Eager eager{device()};
  std::vector<std::string> names;
};

}  // namespace

TEST_CASE("gradients add where a value is used more than once") {
  Eager eager(Device::cpu());
  Tape tape(eager);
  const Tensor a = tensor({2}, {1, 2}), b = tensor({2}, {3, 4}), seed = tensor({2}, {1, 10});
  tape.watch(a);
  tape.watch(b);

  SUBCASE("the same tensor as both inputs") {
    tape.backward(add_scaled(tape, a, a, 1, 3), seed);
    CHECK(download(tape.gradient(a)) == Values{4, 40});
  }
  SUBCASE("twice, while another value shares the first contribution") {
    const Tensor sum = add_scaled(tape, a, b);  // both get the same dy, uncopied
    tape.backward(add_scaled(tape, sum, a), seed);
    CHECK(download(tape.gradient(a)) == Values{2, 20});
    CHECK(download(tape.gradient(b)) == Values{1, 10});
  }
  SUBCASE("four times, along paths of different length") {
    Tensor y = a;
    for (int i = 0; i < 3; ++i) y = add_scaled(tape, y, a);  // y = 4 a
    tape.backward(add_scaled(tape, y, b, 1, 1), seed);
    CHECK(download(tape.gradient(a)) == Values{4, 40});
    CHECK(download(tape.gradient(b)) == Values{1, 10});
  }
  SUBCASE("doubling along a chain") {
    Tensor y = a;
    for (int i = 0; i < 5; ++i) y = add_scaled(tape, y, y);
    tape.backward(y, seed);
    CHECK(download(tape.gradient(a)) == Values{32, 320});
  }
  CHECK(download(seed) == Values{1, 10});  // not used as a place to add
}

TEST_CASE("the gradient of a root is one where no other is given") {
  Eager eager(Device::cpu());
  Tape tape(eager);
  const Tensor a = tensor({3}, {1, 2, 3});
  tape.watch(a);
  tape.backward(add_scaled(tape, a, {}, -2.5));
  CHECK(download(tape.gradient(a)) == Values{-2.5F, -2.5F, -2.5F});
}

TEST_CASE("gradients of parameters add up over uses and over backward passes") {
  ParameterSet parameters;
  const Tensor weight = parameters.declare("weight", {1, 2}, {.constant = 1});
  const Tensor bias = parameters.declare("bias", {1}, {});
  parameters.materialise(Device::cpu(), 1);
  parameters.materialise_gradients();
  Eager eager(Device::cpu());
  const Tensor x = tensor({1, 2}, {2, 3}), z = tensor({1, 2}, {10, 20});
  for (int pass = 1; pass <= 3; ++pass) {
    Tape tape(eager);
    const Tensor y = add_scaled(tape, linear(tape, x, weight, bias), linear(tape, z, weight, bias));
    tape.backward(y);
    const auto times = static_cast<float>(pass);
    CHECK(download(weight.gradient()) == Values{12 * times, 23 * times});
    CHECK(download(bias.gradient()) == Values{2 * times});
  }
  // They lie in the set's block, where the optimiser looks: weights first, from a line of 16 each.
  const Values block = download(parameters.gradients());
  CHECK(block[0] == 36);
  CHECK(block[1] == 69);
  CHECK(block[16] == 6);
}

TEST_CASE("a detached value stops gradients") {
  Eager eager(Device::cpu());
  Tape tape(eager);
  const Tensor a = tensor({2}, {1, 2});
  tape.watch(a);
  const Tensor doubled = add_scaled(tape, a, a);
  const Tensor y = add_scaled(tape, a, doubled.detach(), 3, 5);
  tape.backward(y);
  CHECK(download(y) == Values{13, 26});
  CHECK(download(tape.gradient(a)) == Values{3, 3});
}

TEST_CASE("inference computes the same, records nothing and keeps no gradient") {
  const Tensor x = tensor({1, 3, 3, 1}, {1, -2, 3, -4, 5, -6, 7, -8, 9});
  const Tensor weight = tensor({1, 3, 3, 1}, Values(9, 0.5F));
  std::vector<Values> results;
  std::vector<std::vector<std::string>> names;
  for (const Tape::Mode mode : {Tape::Mode::differentiate, Tape::Mode::infer}) {
    Counting counting(Device::cpu());
    Tape tape(counting, mode);
    tape.watch(x);
    const Tensor y = activate(tape, conv(tape, x, weight, {}, {.padding = 1}), Activation::silu);
    CHECK(y.needs_gradient() == (mode == Tape::Mode::differentiate));
    if (mode == Tape::Mode::infer) CHECK_THROWS_AS(tape.backward(y), std::logic_error);
    CHECK_FALSE(tape.gradient(x));
    results.push_back(download(y));
    names.push_back(counting.names);
  }
  CHECK(results[0] == results[1]);
  CHECK(names[0] == names[1]);
}

TEST_CASE("inference applies every activation inside the convolution") {
  ParameterSet parameters;
  const Tensor weight = parameters.declare("weight", {2, 1, 1, 1}, {.constant = 0.5});
  parameters.materialise(Device::cpu(), 1);
  const Tensor x = tensor({1, 1, 2, 1}, {-1, 2});
  for (const Activation activation : {Activation::relu, Activation::silu, Activation::gelu}) {
    Counting counting(Device::cpu());
    Tape tape(counting, Tape::Mode::infer);
    conv(tape, x, weight, {}, {.activation = activation});
    CHECK(counting.names == std::vector<std::string>{"conv_forward"});
  }
}

TEST_CASE("only what needs a gradient is computed backwards") {
  Counting counting(Device::cpu());
  Tape tape(counting);
  const Tensor x = zeros({1, 4, 4, 2}), weight = zeros({3, 3, 3, 2});
  tape.watch(weight);
  tape.backward(conv(tape, x, weight, {}));
  CHECK(counting.names == std::vector<std::string>{"conv_forward", "fill", "conv_weight_gradient"});
  CHECK_FALSE(tape.gradient(x));
}

TEST_CASE("values that the root does not depend on get no gradient") {
  Eager eager(Device::cpu());
  Tape tape(eager);
  const Tensor a = tensor({1}, {2}), b = tensor({1}, {3});
  tape.watch(a);
  tape.watch(b);
  const Tensor y = add_scaled(tape, a, {}, 2);
  const Tensor unrelated = add_scaled(tape, b, {}, 7);
  tape.backward(y);
  CHECK(download(tape.gradient(a)) == Values{2});
  CHECK_FALSE(tape.gradient(b));
  CHECK_FALSE(tape.gradient(unrelated));
}

TEST_CASE("a root without a way back is an error in the program") {
  Eager eager(Device::cpu());
  Tape tape(eager);
  const Tensor a = tensor({1}, {2});
  CHECK_THROWS_AS(tape.backward(a), std::logic_error);
  tape.watch(a);
  const Tensor y = add_scaled(tape, a, {}, 2), z = add_scaled(tape, a, {}, 3);
  tape.backward(y);
  CHECK_THROWS_AS(tape.backward(y), std::logic_error);  // its nodes are spent
  tape.backward(z);                                     // those of another root are not
  CHECK(download(tape.gradient(a)) == Values{5});
}

TEST_CASE("a gradient of the wrong shape or type is an error in the program") {
  for (const auto& [shape, type] :
       {std::pair{Shape{3}, DType::f32}, std::pair{Shape{2}, DType::bf16}}) {
    Eager eager(Device::cpu());
    Tape tape(eager);
    const Tensor a = zeros({2}), y = zeros({2});
    tape.watch(a);
    tape.record({a}, y, [wrong = make_tensor(Device::cpu(), shape, type)](const Tensor&) {
      return std::vector<Tensor>{wrong};
    });
    CHECK_THROWS_AS(tape.backward(y), std::logic_error);
  }
}

TEST_CASE("a parameter is converted once for a tape") {
  Counting counting(Device::cpu());
  Tape tape(counting);
  const Tensor weight = tensor({2}, {1, 1.0001F});
  const Tensor narrow = tape.converted(weight, DType::bf16);
  CHECK(tape.converted(weight, DType::bf16).id() == narrow.id());
  CHECK(counting.names == std::vector<std::string>{"cast"});
  CHECK(download(narrow) == Values{1, 1});
  CHECK(tape.converted(weight, DType::f32).data() == weight.data());
}

TEST_CASE("tensors that do not fit are refused with both shapes") {
  Eager eager(Device::cpu());
  Tape tape(eager);
  const Tensor x = zeros({2, 5, 6, 3});
  const Tensor labels = make_tensor(Device::cpu(), {2, 5, 5}, DType::i32);
  const Tensor keys = make_tensor(Device::cpu(), {3}, DType::u64);
  const Tensor t = make_tensor(Device::cpu(), {3}, DType::i32);
  const auto refused = [](const std::function<void()>& call, const std::string& operation,
                          std::initializer_list<std::string> parts) {
    std::string message;
    try {
      call();
    } catch (const Error& error) {
      message = error.what();
    }
    CAPTURE(operation);
    CAPTURE(message);
    CHECK(message.starts_with("[" + operation + "] "));
    for (const std::string& part : parts) CHECK(message.find(part) != std::string::npos);
  };
  const auto channels = [](std::int64_t c) { return zeros({c}); };

  refused([&] { conv(tape, zeros({5, 6, 3}), zeros({4, 3, 3, 3}), {}); }, "conv", {"[5, 6, 3]"});
  refused([&] { conv(tape, x, zeros({4, 3, 3}), {}); }, "conv", {"[4, 3, 3]", "[2, 5, 6, 3]"});
  refused(
      [&] {
        conv(tape, x, zeros({4, 3, 3, 2}), {});
      },
      "conv", {"[4, 3, 3, 2]", "[2, 5, 6, 3]"});
  refused(
      [&] {
        conv(tape, x, zeros({4, 7, 7, 3}), {});
      },
      "conv", {"[4, 7, 7, 3]", "[2, 5, 6, 3]"});
  refused([&] { conv(tape, x, zeros({4, 1, 1, 3}), channels(3)); }, "conv", {"bias", "[3]", "[4]"});
  refused(
      [&] {
        conv(tape, x, zeros({4, 1, 1, 3}), {}, {.residual = x});
      },
      "conv", {"residual", "[2, 5, 6, 3]", "[2, 5, 6, 4]"});
  refused([&] { conv(tape, x, zeros({4, 1, 1, 3}), {}, {.stride = 0}); }, "conv", {"stride", "0"});
  refused(
      [&] {
        conv(tape, x, zeros({4, 1, 1, 3}), {}, {.padding = -1});
      },
      "conv", {"padding", "-1"});
  refused([&] { linear(tape, x, zeros({4, 2}), {}); }, "linear", {"[4, 2]", "[2, 5, 6, 3]"});
  refused([&] { linear(tape, x, zeros({4, 3}), channels(3)); }, "linear", {"[3]", "[4]"});
  refused(
      [&] {
        linear(tape, x, zeros({4, 3}), {}, x);
      },
      "linear", {"[2, 5, 6, 3]", "[2, 5, 6, 4]"});
  refused([&] { group_norm(tape, x, channels(3), channels(3), 2); }, "group_norm", {"3", "2"});
  refused([&] { group_norm(tape, x, channels(4), channels(3), 1); }, "group_norm",
          {"gamma", "[4]", "[3]"});
  refused(
      [&] {
        group_norm(tape, x, channels(3), channels(3), 1, zeros({2, 3}));
      },
      "group_norm", {"scale_shift", "[2, 3]", "[2, 6]"});
  refused([&] { group_norm(tape, x, channels(3), channels(3), 1, {}, Activation::relu); },
          "group_norm", {"silu"});
  refused([&] { batch_norm(tape, x, channels(3), channels(3), channels(3), channels(2), {}); },
          "batch_norm", {"[2]", "[3]"});
  refused([&] { attention(tape, x, 2); }, "attention", {"3 channels", "2 heads"});
  refused([&] { max_pool(tape, zeros({1, 1, 4, 2})); }, "max_pool", {"[1, 1, 4, 2]"});
  refused(
      [&] {
        resample(tape, x, {4, 4, 4}, ResampleMode::linear);
      },
      "resample", {"[2, 5, 6, 3]", "[4, 4, 4]"});
  refused([&] { resample(tape, x, {4, 0}, ResampleMode::linear); }, "resample", {"[4, 0]"});
  refused(
      [&] {
        resample(tape, x, {4, 4}, ResampleMode::linear, zeros({2, 4, 5, 7}));
      },
      "resample", {"[2, 4, 5, 7]", "[2, 4, 4, 3]"});
  refused(
      [&] {
        concat(tape, x, zeros({2, 5, 5, 3}));
      },
      "concat", {"[2, 5, 6, 3]", "[2, 5, 5, 3]"});
  refused([&] { dropout(tape, x, 0.5F, keys, 0); }, "dropout", {"[3]", "[2]"});
  refused([&] { dropout(tape, x, 1, keys, 0); }, "dropout", {"rate"});
  refused(
      [&] {
        add_scaled(tape, x, zeros({2, 5, 6, 2}));
      },
      "add_scaled", {"[2, 5, 6, 2]", "[2, 5, 6, 3]"});
  refused([&] { add_scaled(tape, x, x, 1, 1, channels(2)); }, "add_scaled", {"[2]", "[1]"});
  refused([&] { add_per_sample(tape, x, zeros({2, 4})); }, "add_per_sample", {"[2, 4]", "[2, 3]"});
  refused([&] { dice_loss(tape, x, labels); }, "dice_loss", {"[2, 5, 5]", "[2, 5, 6]"});
  refused([&] { cross_entropy_loss(tape, x, labels); }, "cross_entropy_loss",
          {"[2, 5, 5]", "[2, 5, 6]"});
  refused([&] { mean_squared_error(tape, x, zeros({2})); }, "mean_squared_error",
          {"[2]", "[2, 5, 6, 3]"});
  refused([&] { mean_squared_error(tape, x, x, channels(3)); }, "mean_squared_error",
          {"[3]", "[2]"});
  refused([&] { class_use(tape, x, channels(2)); }, "class_use", {"[2]", "[3]"});
  refused([&] { forward_noise(tape, x, t, channels(9), keys, 0); }, "forward_noise",
          {"[3]", "[2]"});
  refused([&] { predict_clean(tape, x, zeros({2}), t, channels(9), -1, 1); }, "predict_clean",
          {"[2]", "[2, 5, 6, 3]"});
  const ReverseProcess process{zeros({3, 5}), t, t, t};
  refused([&] { reverse_step(tape, x, x, {}, process, keys, 0, -1, 1); }, "reverse_step",
          {"[3, 5]", "[3, 6]"});
  refused([&] { reverse_step(tape, x, x, zeros({2}), process, keys, 0, -1, 1); }, "reverse_step",
          {"[2]", "[2, 5, 6, 3]"});
  refused(
      [&] {
        random_normal(tape, keys, 0, {2, 3}, DType::f32);
      },
      "random_normal", {"[3]", "[2]"});
  refused([&] { random_timesteps(tape, keys, 0, 5, 5); }, "random_timesteps", {"[5, 5)"});
}

TEST_CASE("tensors of another type than the activations are refused") {
  Eager eager(Device::cpu());
  Tape tape(eager);
  const auto refused = [](const std::function<void()>& call, const std::string& start) {
    std::string message;
    try {
      call();
    } catch (const Error& error) {
      message = error.what();
    }
    CAPTURE(message);
    CHECK(message.starts_with(start));
    CHECK(message.find("bf16") != std::string::npos);
    CHECK(message.find("f32") != std::string::npos);
  };
  const Tensor x = zeros({2, 5, 6, 3}), half = make_tensor(Device::cpu(), x.shape(), DType::bf16);
  const Tensor weight = zeros({3, 1, 1, 3});
  const Tensor channels = zeros({3});
  refused([&] { conv(tape, half, weight, {}, {.residual = x}); }, "[conv] residual");
  refused([&] { linear(tape, half, zeros({3, 3}), {}, x); }, "[linear] residual");
  refused(
      [&] {
        group_norm(tape, half, channels, channels, 1, zeros({2, 6}));
      },
      "[group_norm] scale_shift");
  refused([&] { add_scaled(tape, x, half); }, "[add_scaled] b");
  refused([&] { add_per_sample(tape, half, zeros({2, 3})); }, "[add_per_sample] v");
  refused([&] { mean_squared_error(tape, half, x); }, "[mean_squared_error] target");
  refused([&] { concat(tape, half, x); }, "[concat]");
}
