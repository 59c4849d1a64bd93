// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/optimizer.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/contract.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

constexpr double rounding = 0x1p-24;  // of one float operation
const std::int64_t counts[] = {1, 3, 7, 17, 33, 127, 8193, 50001};

/// Parameters, gradients and the optimiser's state are float, whatever the activations are.
void for_each_device(const std::function<void(const Target&)>& visit) {
  for_each_target([&](const Target& target) {
    if (target.type == DType::f32) visit(target);
  });
}

AdamW adamw(Arena& m, std::int64_t count, const void* scale = nullptr) {
  return {.count = count,
          .type = m.type(),
          .weight_decay = 0.01F,
          .hyper = m.param_input("hyper", {0.01, 0.271, 0.002997}),
          .gradient_scale = scale,
          .gradient = m.input("gradient", count),
          .parameter = m.in_out("parameter", count),
          .first = m.in_out("first", count, -0.1, 0.1),
          .second = m.in_out("second", count, 0, 0.01)};
}

Sgd sgd(Arena& m, std::int64_t count, const void* scale = nullptr) {
  return {.count = count,
          .type = m.type(),
          .weight_decay = 0.01F,
          .hyper = m.param_input("hyper", {0.1, 1, 1}),
          .gradient_scale = scale,
          .gradient = m.input("gradient", count),
          .parameter = m.in_out("parameter", count),
          .velocity = m.in_out("velocity", count)};
}

struct Norm {
  double norm, scale;
};

Norm norm_of(const Target& target, const std::vector<double>& gradient, double limit) {
  Arena m(target.stream, target.type, target.type);
  run_in(m, [&](Arena& arena) {
    return GradientNorm{.count = static_cast<std::int64_t>(gradient.size()),
                        .type = arena.type(),
                        .limit = static_cast<float>(limit),
                        .gradient = arena.input("gradient", gradient),
                        .norm = arena.param_output("norm", 1),
                        .scale = arena.param_output("scale", 1)};
  });
  return {m.values("norm")[0], m.values("scale")[0]};
}

}  // namespace

TEST_CASE("adamw") {
  for (const std::int64_t count : counts)
    for_each_device([&](const Target& target) {
      // some ten roundings, none of them amplified: |first| < 1, and the step's quotient is below
      // 1 / 0.271 / sqrt(0.001 / 0.003 * gradient^2), times a rate of 0.01
      const Tolerance tolerance{.relative = 16 * rounding};
      compare(
          target, [&](Arena& m) { return adamw(m, count); }, tolerance);
      compare(
          target,
          [&](Arena& m) {
            return adamw(m, count, m.param_input("scale", std::vector<double>{0.25}));
          },
          tolerance);
      compare_thread_counts(target, [&](Arena& m) { return adamw(m, count); });
    });
}

TEST_CASE("adamw by hand") {
  // first step from zero moments: both bias corrections cancel, and the step is the rate times
  // the gradient's sign, whatever its size
  float parameter[] = {1, 1, 1}, first[3] = {}, second[3] = {};
  const float gradient[] = {1e-3F, -20, 0};
  float hyper[] = {0.125F, 1 - 0.9F, 1 - 0.999F};
  AdamW op{.count = 3,
           .hyper = hyper,
           .gradient = gradient,
           .parameter = parameter,
           .first = first,
           .second = second};
  run(Cpu{}, op);
  CHECK(std::abs(parameter[0] - 0.875F) <= 1e-5);  // epsilon / 1e-3
  CHECK(std::abs(parameter[1] - 1.125F) <= 1e-6);
  CHECK(parameter[2] == 1);
  CHECK(std::abs(first[1] + 2) <= 1e-6);
  CHECK(std::abs(second[1] - (1 - 0.999F) * 400) <= 1e-6);

  // decay acts on the parameter directly, not through the moments
  const float before = parameter[2];
  op.weight_decay = 0.5F;
  run(Cpu{}, op);
  CHECK(std::abs(parameter[2] - before * (1 - 0.125F * 0.5F)) <= 1e-6);
  CHECK(first[2] == 0);
}

TEST_CASE("every setting of adamw changes its answer") {
  for_each_device([](const Target& target) {
    const auto answer = [&](auto&& change) {
      Arena m(target.stream, target.type, target.type);
      AdamW op = adamw(m, 1, m.param_input("scale", std::vector<double>{0.5}));
      change(op, m);
      launch(m.stream(), op);
      return m.values("parameter")[0];
    };
    const double base = answer([](AdamW&, Arena&) {});
    const auto with_hyper = [&](std::vector<double> values) {
      return answer([&](AdamW& op, Arena& m) { op.hyper = m.param_input("other", values); });
    };
    CHECK(answer([](AdamW& op, Arena&) { op.beta1 = 0.8F; }) != base);
    CHECK(answer([](AdamW& op, Arena&) { op.beta2 = 0.99F; }) != base);
    CHECK(answer([](AdamW& op, Arena&) { op.epsilon = 0.1F; }) != base);
    CHECK(answer([](AdamW& op, Arena&) { op.weight_decay = 0.5F; }) != base);
    CHECK(answer([](AdamW& op, Arena&) { op.gradient_scale = nullptr; }) != base);
    CHECK(with_hyper({0.01, 0.271, 0.002997}) == base);
    CHECK(with_hyper({0.02, 0.271, 0.002997}) != base);
    CHECK(with_hyper({0.01, 0.5, 0.002997}) != base);
    CHECK(with_hyper({0.01, 0.271, 0.1}) != base);
  });
}

TEST_CASE("sgd") {
  for (const std::int64_t count : counts)
    for_each_device([&](const Target& target) {
      const Tolerance tolerance{.relative = 8 * rounding};  // six roundings of numbers near 1
      compare(
          target, [&](Arena& m) { return sgd(m, count); }, tolerance);
      compare(
          target,
          [&](Arena& m) {
            return sgd(m, count, m.param_input("scale", std::vector<double>{0.25}));
          },
          tolerance);
      compare_thread_counts(target, [&](Arena& m) { return sgd(m, count); });
    });
}

TEST_CASE("sgd by hand") {
  float parameter = 2, velocity = 1;
  const float gradient = 4, rate = 0.5F, scale = 0.25F;
  run(Cpu{}, Sgd{.count = 1,
                 .momentum = 0.5F,
                 .weight_decay = 0.25F,
                 .hyper = &rate,
                 .gradient_scale = &scale,
                 .gradient = &gradient,
                 .parameter = &parameter,
                 .velocity = &velocity});
  CHECK(velocity == 2);  // 0.5 * 1 + 0.25 * 4 + 0.25 * 2
  CHECK(parameter == 1);
}

TEST_CASE("a gradient scale of zero skips the step, not-a-number gradients and all") {
  const auto check_skipped = [](Arena& m) {
    const void* zero = m.param_input("scale", std::vector<double>{0});
    AdamW adam = adamw(m, 33, zero);
    const void* bad = m.input("bad", std::vector<double>(33, std::nan("")));
    adam.gradient = bad;
    const std::vector<double> parameter = m.values("parameter"), first = m.values("first"),
                              second = m.values("second");
    launch(m.stream(), adam);
    Sgd descent{.count = 33,
                .type = m.type(),
                .weight_decay = 1,
                .hyper = adam.hyper,
                .gradient_scale = zero,
                .gradient = bad,
                .parameter = adam.parameter,
                .velocity = adam.first};
    launch(m.stream(), descent);
    CHECK(m.values("parameter") == parameter);
    CHECK(m.values("first") == first);
    CHECK(m.values("second") == second);
  };
  Arena reference({DeviceKind::reference}, DType::f64, DType::f32);
  check_skipped(reference);
  for_each_device([&](const Target& target) {
    Arena m(target.stream, target.type, target.type);
    check_skipped(m);
  });
}

TEST_CASE("gradient norm") {
  for (const std::int64_t count : counts)
    for (const double limit : {0.0, 0.5, 1e6})
      for_each_device([&](const Target& target) {
        const auto build = [&](Arena& m) {
          return GradientNorm{.count = count,
                              .type = m.type(),
                              .limit = static_cast<float>(limit),
                              .gradient = m.input("gradient", count),
                              .norm = m.param_output("norm", 1),
                              .scale = m.param_output("scale", 1)};
        };
        // The CPU sums in double: what is left is the rounding of norm, and of the quotient with
        // it. On a GPU four squares round up to 4 times in float, twice under the root. (One value
        // is its own scale, so that the bound is 4 roundings.)
        compare(target, build, {.relative = 2 * rounding});
        compare_thread_counts(target, build);
      });
}

TEST_CASE("gradient norm of more vectors than a GPU's grid has threads") {
  const std::int64_t count = 4 * 1024 * 256 + 1003;
  for_each_device([&](const Target& target) {
    compare(target,
            [&](Arena& m) {
              return GradientNorm{.count = count,
                                  .type = m.type(),
                                  .gradient = m.input("gradient", count),
                                  .norm = m.param_output("norm", 1),
                                  .scale = m.param_output("scale", 1)};
            },
            {.relative = 2 * rounding});
  });
}

TEST_CASE("gradient norm by hand and at its limits") {
  for_each_device([](const Target& target) {
    const auto norm = [&](const std::vector<double>& gradient, double limit) {
      return norm_of(target, gradient, limit);
    };
    CHECK(norm({3, 4}, 0).norm == 5);
    CHECK(norm({3, 4}, 0).scale == 1);
    CHECK(norm({3, 4}, 10).scale == 1);
    CHECK(norm({3, 4}, 2.5).scale == 0.5);
    CHECK(norm({0, 0, 0}, 1).norm == 0);
    CHECK(norm({0, 0, 0}, 1).scale == 1);
    // no overflow, no underflow; one thread of a GPU squares four
    for (const int count : {1, 4, 5})
      for (const double extreme : {0x1p100, 0x1p-100, 0x1p-130})
        CHECK(norm(std::vector<double>(count, extreme), 1).norm ==
              doctest::Approx(std::sqrt(count) * extreme));
    CHECK(norm({0x1p-100, 0, 0, 0}, 1).norm == 0x1p-100);
    const double infinity = std::numeric_limits<double>::infinity();
    for (const double limit : {0.0, 1.0})
      for (const double bad : {infinity, -infinity, std::nan("")}) {
        std::vector<double> gradient(20000, 1);
        gradient[12345] = bad;
        CHECK(!std::isfinite(norm(gradient, limit).norm));
        CHECK(norm(gradient, limit).scale == 0);
      }
  });
}

TEST_CASE("exponential average") {
  for (const std::int64_t count : counts)
    for (const double decay : {0.0, 0.999, 1.0})
      for_each_device([&](const Target& target) {
        const auto build = [&](Arena& m) {
          return ExponentialAverage{.count = count,
                                    .type = m.type(),
                                    .decay = m.param_input("decay", std::vector<double>{decay}),
                                    .source = m.input("source", count, -10, 10),
                                    .average = m.in_out("average", count)};
        };
        compare(target, build, {.relative = 0, .absolute = 4 * rounding * 11});
        compare_thread_counts(target, build);
      });
}

TEST_CASE("an exponential average forgets its start at the rate of its decay") {
  const float decay = 0.5F, source = 1;
  float average = 0;
  for (int step = 0; step < 3; ++step)
    run(Cpu{},
        ExponentialAverage{.count = 1, .decay = &decay, .source = &source, .average = &average});
  CHECK(average == 0.875F);
}

}  // namespace anaphase::test
