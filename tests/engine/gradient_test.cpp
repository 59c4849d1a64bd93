// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <fstream>
#include <limits>
#include <set>
#include <string>

#include "kernels/elementwise/elementwise.hpp"
#include "tests/engine/op_cases.hpp"

using namespace anaphase;
using namespace anaphase::engine;
using namespace anaphase::test;

// Central differences with a step of h = 1e-5 are wrong by h^2 / 6 times the third derivative
// (about 1e-11 for values and derivatives near 1) and by a rounding error of about 1e-16 |f| / h,
// which for sums f of up to 100 is 1e-9. The bound of 1e-7, relative to the largest gradient,
// leaves room for third derivatives in the thousands; a wrong term in a formula shows as 1e-3 or
// more. Inputs keep kinks and ties farther away than h.
TEST_CASE("gradients of every differentiable operation agree with finite differences") {
  for (const OpCase& op : differentiable_cases()) {
    std::vector<GradientCheckInput> inputs;
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      const std::vector<float> values = values_of(op, i);
      inputs.push_back({op.inputs[i].shape, {values.begin(), values.end()}});
    }
    const double error = gradient_error(op.function, inputs, op.step);
    CHECK_MESSAGE(error <= op.bound, op.operation << ", " << op.variant << ": " << error);
  }
}

TEST_CASE("every operation that is declared has a case") {
  std::ifstream header(ANAPHASE_SOURCE_DIR "/engine/ops/ops.hpp");
  REQUIRE(header);
  std::set<std::string> declared, covered;
  for (std::string line; std::getline(header, line);) {
    // "Result name(Tape& tape, ..."
    const std::size_t space = line.find(' '), bracket = line.find("(Tape& tape");
    if (bracket != std::string::npos && space < bracket)
      declared.insert(line.substr(space + 1, bracket - space - 1));
  }
  REQUIRE(declared.size() >= 20);
  for (const auto* cases : {&differentiable_cases(), &constant_cases()})
    for (const OpCase& op : *cases) covered.insert(op.operation);
  for (const std::string& operation : declared)
    CHECK_MESSAGE(covered.contains(operation), operation << " has no case in op_cases.cpp");

  // and what ops.hpp calls differentiable has its case in the list that is checked
  const std::set<std::string> constant = {
      "fold_batch_norm", "argmax",    "one_hot",      "random_timesteps",  "random_normal",
      "predict_clean",   "next_step", "reverse_step", "timestep_embedding"};
  std::set<std::string> checked;
  for (const OpCase& op : differentiable_cases()) checked.insert(op.operation);
  for (const std::string& operation : declared)
    CHECK_MESSAGE(checked.contains(operation) != constant.contains(operation), operation);
}

TEST_CASE("what has no gradient leaves nothing on the tape") {
  for (const OpCase& op : constant_cases()) {
    Eager eager(Device::reference());
    CHECK_MESSAGE(!evaluate(op, eager).output.needs_gradient(), op.operation << ", " << op.variant);
  }
}

namespace {

/// y = 3 x with a backward pass that says `claimed` times the output's gradient.
Differentiable tripled(double claimed) {
  return [claimed](Tape& tape, const std::vector<Tensor>& in) {
    const auto scaled = [&tape](const Tensor& x, double factor) {
      const Tensor y = tape.allocate_like(x);
      tape.launch("scale", {x}, {y}, [x, y, factor] {
        return kernels::AddScaled{
            .count = x.count(), .type = x.type(), .a = x.data(), .alpha = factor, .y = y.data()};
      });
      return y;
    };
    const Tensor y = scaled(in[0], 3);
    tape.record({in[0]}, y,
                [=](const Tensor& dy) -> std::vector<Tensor> { return {scaled(dy, claimed)}; });
    return y;
  };
}

}  // namespace

TEST_CASE("the check finds wrong, missing and undefined gradients") {
  const std::vector<GradientCheckInput> x = {{{2, 3}, {0.5, -1, 2, 0.25, -3, 1}}};
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(gradient_error(tripled(3), x) <= 1e-9);
  // Errors are relative to the largest gradient, 3 times the largest r.
  CHECK(gradient_error(tripled(3.003), x) == doctest::Approx(1e-3).epsilon(1e-3));
  CHECK(gradient_error(tripled(-3), x) == doctest::Approx(2).epsilon(1e-6));
  CHECK(gradient_error(tripled(std::numeric_limits<double>::quiet_NaN()), x) == infinity);

  const std::vector<GradientCheckInput> with_nan = {
      {{2}, {std::numeric_limits<double>::quiet_NaN(), 1}}};
  CHECK(gradient_error(tripled(3), with_nan) == infinity);

  const Differentiable ignores_second = [](Tape& tape, const std::vector<Tensor>& in) {
    return add_scaled(tape, in[0], in[1].detach());
  };
  CHECK(gradient_error(ignores_second, {{{1}, {2.0}}, {{1}, {3.0}}}) == infinity);
}
