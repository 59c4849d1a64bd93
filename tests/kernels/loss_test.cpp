// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/loss.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "kernels/softmax/softmax.hpp"
#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

struct Size {
  int rows, classes;
  int count() const { return rows * classes; }
};
// Every number of classes that GPU kernels are compiled for, 2 to 8, and others; whole packs of
// rows and broken ones; one block of rows and several.
constexpr Size sizes[] = {{1, 2},   {3, 3},  {127, 4}, {257, 2}, {33, 5},   {67, 6},   {31, 7},
                          {129, 8}, {70, 1}, {17, 33}, {5, 255}, {301, 17}, {2049, 3}, {9001, 2}};

/// Labels of all classes and, with `ignored`, every fifth left out.
std::vector<std::int32_t> labels_of(const Size& s, bool ignored = true) {
  std::vector<std::int32_t> labels(s.rows);
  for (int r = 0; r < s.rows; ++r)
    labels[r] = ignored && r % 5 == 2 ? ignore_label : (r * 7 / 3) % s.classes;
  return labels;
}

// A probability is two exponentials of 2 ulp, a sum and a quotient away from exact, 2^-21; a sum
// over a block's rows in float adds at most (256 / 8) * 2^-24. What remains is a few roundings.
constexpr Tolerance tolerance{.relative = 0x1p-18};
// Losses are param type: bf16 rounds the logits for both sides alike, so it has no more room here.
constexpr Tolerance loss_tolerance{.relative = 0x1p-18, .bf16_relative = 0};

DiceForward dice(const Size& s, Arena& m, double spread = 5) {
  return {.rows = s.rows,
          .classes = s.classes,
          .type = m.type(),
          .smooth = 0.5F,
          .logits = m.input("logits", s.count(), -spread, spread),
          .labels = m.labels("labels", labels_of(s)),
          .loss = m.param_output("loss", 1),
          .sums = m.param_output("sums", 3 * s.classes)};
}

CrossEntropyForward cross_entropy(const Size& s, Arena& m, double spread = 5) {
  return {.rows = s.rows,
          .classes = s.classes,
          .type = m.type(),
          .logits = m.input("logits", s.count(), -spread, spread),
          .labels = m.labels("labels", labels_of(s)),
          .loss = m.param_output("loss", 1),
          .counted = m.param_output("counted", 1)};
}

ClassUseForward class_use(const Size& s, Arena& m, double spread = 5) {
  return {.rows = s.rows,
          .classes = s.classes,
          .type = m.type(),
          .logits = m.input("logits", s.count(), -spread, spread),
          .prior = m.param_input("prior", s.classes, 0.1, 1),
          .loss = m.param_output("loss", 1),
          .use = m.param_output("use", s.classes),
          .entropy = m.param_output("entropy", 1)};
}

using Values = const std::vector<double>&;

}  // namespace

TEST_CASE("the Dice loss agrees with the reference") {
  for (const Size s : sizes) {
    CAPTURE(s.rows);
    CAPTURE(s.classes);
    for_each_target([&](const Target& target) {
      const auto backward = [&](Arena& m) {
        return DiceBackward{.rows = s.rows,
                            .classes = s.classes,
                            .type = m.type(),
                            .smooth = 0.5F,
                            .logits = m.input("logits", s.count(), -5, 5),
                            .labels = m.labels("labels", labels_of(s)),
                            .sums = m.param_input("sums", 3 * s.classes, s.rows, 2 * s.rows),
                            .dloss = m.param_input("dloss", std::vector<double>{1.5}),
                            .dlogits = m.output("dlogits", s.count())};
      };
      compare(
          target, [&](Arena& m) { return dice(s, m); }, loss_tolerance);
      compare(target, backward, tolerance);
      compare_thread_counts(target, [&](Arena& m) { return dice(s, m); });
      compare_thread_counts(target, backward);
    });
  }
}

TEST_CASE("the cross entropy agrees with the reference") {
  for (const Size s : sizes) {
    CAPTURE(s.rows);
    CAPTURE(s.classes);
    for_each_target([&](const Target& target) {
      const auto backward = [&](Arena& m) {
        return CrossEntropyBackward{
            .rows = s.rows,
            .classes = s.classes,
            .type = m.type(),
            .logits = m.input("logits", s.count(), -5, 5),
            .labels = m.labels("labels", labels_of(s)),
            .counted = m.param_input("counted", std::vector<double>{0.8 * s.rows}),
            .dloss = m.param_input("dloss", std::vector<double>{1.5}),
            .dlogits = m.output("dlogits", s.count())};
      };
      compare(
          target, [&](Arena& m) { return cross_entropy(s, m); }, loss_tolerance);
      compare(target, backward, tolerance);
      compare_thread_counts(target, [&](Arena& m) { return cross_entropy(s, m); });
      compare_thread_counts(target, backward);
    });
  }
}

TEST_CASE("the mean squared error agrees with the reference") {
  struct Shape {
    int n;
    std::int64_t per_sample;
  };
  for (const Shape s : {Shape{1, 1}, Shape{3, 7}, Shape{2, 8193}, Shape{4, 1025}, Shape{3, 24},
                        Shape{2, 4096}, Shape{1, 40000}}) {
    for (const bool weighted : {false, true}) {
      for_each_target([&](const Target& target) {
        const std::int64_t count = s.n * s.per_sample;
        const auto forward = [&](Arena& m) {
          return MeanSquaredErrorForward{
              .n = s.n,
              .per_sample = s.per_sample,
              .type = m.type(),
              .prediction = m.input("prediction", count, -3, 3),
              .target = m.input("target", count, -3, 3),
              .weight = weighted ? m.param_input("weight", s.n, 0, 2) : nullptr,
              .loss = m.param_output("loss", 1)};
        };
        const auto backward = [&](Arena& m) {
          return MeanSquaredErrorBackward{
              .n = s.n,
              .per_sample = s.per_sample,
              .type = m.type(),
              .prediction = m.input("prediction", count, -3, 3),
              .target = m.input("target", count, -3, 3),
              .weight = weighted ? m.param_input("weight", s.n, 0, 2) : nullptr,
              .dloss = m.param_input("dloss", std::vector<double>{1.5}),
              .dprediction = m.output("dprediction", count)};
        };
        compare(target, forward, loss_tolerance);
        compare(target, backward, tolerance);
        compare_thread_counts(target, forward);
        compare_thread_counts(target, backward);
      });
    }
  }
}

TEST_CASE("the class use agrees with the reference") {
  for (const Size s : sizes) {
    CAPTURE(s.rows);
    CAPTURE(s.classes);
    for (const int wanted : {1, 2, 3}) {  // bits: the loss's gradient, the entropy's
      for_each_target([&](const Target& target) {
        const auto backward = [&](Arena& m) {
          return ClassUseBackward{
              .rows = s.rows,
              .classes = s.classes,
              .type = m.type(),
              .logits = m.input("logits", s.count(), -5, 5),
              .prior = m.param_input("prior", s.classes, 0.1, 1),
              .use = m.param_input("use", s.classes, 0.1, 1),
              .dloss = wanted & 1 ? m.param_input("dloss", std::vector<double>{1.5}) : nullptr,
              .dentropy =
                  wanted & 2 ? m.param_input("dentropy", std::vector<double>{-0.5}) : nullptr,
              .dlogits = m.output("dlogits", s.count())};
        };
        compare(
            target, [&](Arena& m) { return class_use(s, m); }, loss_tolerance);
        compare(target, backward, tolerance);
        compare_thread_counts(target, [&](Arena& m) { return class_use(s, m); });
        compare_thread_counts(target, backward);
      });
    }
  }
}

TEST_CASE("losses of confident logits keep their precision") {
  for (const double spread : {0.0, 60.0, 1e4}) {
    for_each_target([&](const Target& target) {
      const Size s{1001, 2};
      compare(
          target, [&](Arena& m) { return dice(s, m, spread); }, loss_tolerance);
      compare(
          target, [&](Arena& m) { return cross_entropy(s, m, spread); }, loss_tolerance);
      compare(
          target, [&](Arena& m) { return class_use(s, m, spread); }, loss_tolerance);
    });
  }
  // Every row right by 20: a cross entropy of log(1 + e^-20) = 2e-9, no sum of which with 1 is
  // exact.
  std::vector<double> logits(600);
  for (int r = 0; r < 300; ++r) logits[2 * r] = 20;
  for_each_target([&](const Target& target) {
    compare(
        target,
        [&](Arena& m) {
          return CrossEntropyForward{
              .rows = 300,
              .classes = 2,
              .type = m.type(),
              .logits = m.input("logits", logits),
              .labels = m.labels("labels", std::vector<std::int32_t>(300, 0)),
              .loss = m.param_output("loss", 1),
              .counted = m.param_output("counted", 1)};
        },
        loss_tolerance);
  });
}

TEST_CASE("a class ruled out everywhere has no use, and no gradient") {
  for (const Size s : {Size{300, 3}, Size{300, 9}}) {
    std::vector<double> logits = random_values("logits", s.count(), -3, 3);
    for (int r = 0; r < s.rows; ++r) logits[s.classes * r + 1] = -INFINITY;
    std::vector<double> use(s.classes, 0.9 / (s.classes - 1));
    use[1] = 0;
    for_each_target([&](const Target& target) {
      compare(
          target,
          [&](Arena& m) {
            return ClassUseForward{.rows = s.rows,
                                   .classes = s.classes,
                                   .type = m.type(),
                                   .logits = m.input("logits", logits),
                                   .prior = m.param_input("prior", s.classes, 0.1, 1),
                                   .loss = m.param_output("loss", 1),
                                   .use = m.param_output("use", s.classes),
                                   .entropy = m.param_output("entropy", 1)};
          },
          loss_tolerance);
      compare(
          target,
          [&](Arena& m) {
            return ClassUseBackward{
                .rows = s.rows,
                .classes = s.classes,
                .type = m.type(),
                .logits = m.input("logits", logits),
                .prior = m.param_input("prior", s.classes, 0.1, 1),
                .use = m.param_input("use", use),
                .dloss = m.param_input("dloss", std::vector<double>{1.5}),
                .dentropy = m.param_input("dentropy", std::vector<double>{-0.5}),
                .dlogits = m.output("dlogits", s.count())};
          },
          tolerance);
    });
  }
}

TEST_CASE("NaN logits make a NaN loss, in rows that count alone") {
  for (const Size s : {Size{300, 2}, Size{300, 9}}) {
    for (const bool ignored : {false, true}) {
      std::vector<double> logits = random_values("logits", s.count(), -3, 3);
      logits[s.classes * 17 + 1] = NAN;
      std::vector<std::int32_t> labels = labels_of(s, false);
      if (ignored) labels[17] = ignore_label;
      for_each_target([&](const Target& target) {
        Arena m(target.stream, target.type, target.type);
        run_in(m, [&](Arena&) {
          return CrossEntropyForward{.rows = s.rows,
                                     .classes = s.classes,
                                     .type = m.type(),
                                     .logits = m.input("logits", logits),
                                     .labels = m.labels("labels", labels),
                                     .loss = m.param_output("ce", 1),
                                     .counted = m.param_output("counted", 1)};
        });
        Arena d(target.stream, target.type, target.type);
        run_in(d, [&](Arena&) {
          return DiceForward{.rows = s.rows,
                             .classes = s.classes,
                             .type = d.type(),
                             .logits = d.input("logits", logits),
                             .labels = d.labels("labels", labels),
                             .loss = d.param_output("dice", 1),
                             .sums = d.param_output("sums", 3 * s.classes)};
        });
        CHECK(std::isnan(m.values("ce")[0]) == !ignored);
        CHECK(std::isnan(d.values("dice")[0]) == !ignored);
      });
    }
  }
}

TEST_CASE("without a row that counts the cross entropy and its gradient are 0") {
  for_each_target([](const Target& target) {
    const std::vector<std::int32_t> none(5, ignore_label);
    compare(target,
            [&](Arena& m) {
              return CrossEntropyForward{.rows = 5,
                                         .classes = 2,
                                         .type = m.type(),
                                         .logits = m.input("logits", 10),
                                         .labels = m.labels("labels", none),
                                         .loss = m.param_output("loss", 1),
                                         .counted = m.param_output("counted", 1)};
            },
            {});
    compare(target,
            [&](Arena& m) {
              return CrossEntropyBackward{
                  .rows = 5,
                  .classes = 2,
                  .type = m.type(),
                  .logits = m.input("logits", 10),
                  .labels = m.labels("labels", none),
                  .counted = m.param_input("counted", std::vector<double>{0}),
                  .dloss = m.param_input("dloss", std::vector<double>{1}),
                  .dlogits = m.output("dlogits", 10)};
            },
            {});
  });
}

TEST_CASE("the references by hand") {
  // Probabilities (1/4, 3/4) and (1/2, 1/2); the third row is ignored.
  const std::vector<double> logits{0, std::log(3), 0, 0, 9, -9};
  const std::int32_t labels[] = {1, 0, ignore_label};
  double loss = 0, counted = 0, entropy = 0;
  std::vector<double> sums(6), use(2);
  run(Reference{}, DiceForward{.rows = 3,
                               .classes = 2,
                               .smooth = 1,
                               .logits = logits.data(),
                               .labels = labels,
                               .loss = &loss,
                               .sums = sums.data()});
  const double expected[] = {0.5, 0.75, 5.0 / 16, 13.0 / 16, 1, 1};
  for (int i = 0; i < 6; ++i) CHECK(sums[i] == doctest::Approx(expected[i]).epsilon(1e-14));
  CHECK(loss == doctest::Approx(1 - (2 / (37.0 / 16) + 2.5 / (45.0 / 16)) / 2).epsilon(1e-14));
  run(Reference{}, CrossEntropyForward{.rows = 3,
                                       .classes = 2,
                                       .logits = logits.data(),
                                       .labels = labels,
                                       .loss = &loss,
                                       .counted = &counted});
  CHECK(loss == doctest::Approx((std::log(4.0 / 3) + std::log(2)) / 2).epsilon(1e-14));
  CHECK(counted == 2);
  const double prior[] = {0.5, 0.5};
  run(Reference{}, ClassUseForward{.rows = 2,
                                   .classes = 2,
                                   .logits = logits.data(),
                                   .prior = prior,
                                   .loss = &loss,
                                   .use = use.data(),
                                   .entropy = &entropy});
  CHECK(use[0] == doctest::Approx(0.375).epsilon(1e-14));
  CHECK(loss == doctest::Approx(0.375 * std::log(0.75) + 0.625 * std::log(1.25)).epsilon(1e-14));
  CHECK(entropy ==
        doctest::Approx((std::log(4) - 0.75 * std::log(3) + std::log(2)) / 2).epsilon(1e-14));
  const double prediction[] = {1, 2, 3, 4}, target[] = {0, 2, 5, 4}, weight[] = {2, 0.5};
  run(Reference{}, MeanSquaredErrorForward{.n = 2,
                                           .per_sample = 2,
                                           .prediction = prediction,
                                           .target = target,
                                           .weight = weight,
                                           .loss = &loss});
  CHECK(loss == 1);  // (2 * (1 + 0) / 2 + 0.5 * (4 + 0) / 2) / 2
}

TEST_CASE("a perfect and a hopeless prediction bound the Dice loss") {
  const auto loss_of = [](double right, float smooth) {
    std::vector<double> logits(200);
    std::vector<std::int32_t> labels(100);
    for (int r = 0; r < 100; ++r) {
      labels[r] = r % 2;
      logits[2 * r + labels[r]] = right;
    }
    double loss = 0;
    std::vector<double> sums(6);
    run(Reference{}, DiceForward{.rows = 100,
                                 .classes = 2,
                                 .smooth = smooth,
                                 .logits = logits.data(),
                                 .labels = labels.data(),
                                 .loss = &loss,
                                 .sums = sums.data()});
    return loss;
  };
  CHECK(std::abs(loss_of(100, 1)) < 1e-14);
  CHECK(loss_of(-100, 0) == doctest::Approx(1).epsilon(1e-14));
  CHECK(loss_of(-100, 1) == doctest::Approx(1 - 1.0 / 101).epsilon(1e-14));
}

TEST_CASE("the references' gradients are those of their losses") {
  const Size s{12, 3};
  const std::vector<std::int32_t> labels = labels_of(s);
  const std::vector<double> logits = random_values("logits", s.count(), -2, 2);
  const std::vector<double> prior{0.2, 0.3, 0.5};
  const double slope = 1.5;
  std::vector<double> gradient(logits.size()), sums(9), use(3);
  double counted = 0, entropy = 0;

  const auto dice_loss = [&](Values at) {
    double loss = 0;
    run(Reference{}, DiceForward{.rows = s.rows,
                                 .classes = s.classes,
                                 .smooth = 0.5F,
                                 .logits = at.data(),
                                 .labels = labels.data(),
                                 .loss = &loss,
                                 .sums = sums.data()});
    return slope * loss;
  };
  dice_loss(logits);
  run(Reference{}, DiceBackward{.rows = s.rows,
                                .classes = s.classes,
                                .smooth = 0.5F,
                                .logits = logits.data(),
                                .labels = labels.data(),
                                .sums = sums.data(),
                                .dloss = &slope,
                                .dlogits = gradient.data()});
  check_gradient(dice_loss, logits, gradient);

  const auto cross_entropy_loss = [&](Values at) {
    double loss = 0;
    run(Reference{}, CrossEntropyForward{.rows = s.rows,
                                         .classes = s.classes,
                                         .logits = at.data(),
                                         .labels = labels.data(),
                                         .loss = &loss,
                                         .counted = &counted});
    return slope * loss;
  };
  cross_entropy_loss(logits);
  run(Reference{}, CrossEntropyBackward{.rows = s.rows,
                                        .classes = s.classes,
                                        .logits = logits.data(),
                                        .labels = labels.data(),
                                        .counted = &counted,
                                        .dloss = &slope,
                                        .dlogits = gradient.data()});
  check_gradient(cross_entropy_loss, logits, gradient);

  const double entropy_slope = -0.75;
  const auto class_use_loss = [&](Values at) {
    double loss = 0;
    run(Reference{}, ClassUseForward{.rows = s.rows,
                                     .classes = s.classes,
                                     .logits = at.data(),
                                     .prior = prior.data(),
                                     .loss = &loss,
                                     .use = use.data(),
                                     .entropy = &entropy});
    return slope * loss + entropy_slope * entropy;
  };
  class_use_loss(logits);
  run(Reference{}, ClassUseBackward{.rows = s.rows,
                                    .classes = s.classes,
                                    .logits = logits.data(),
                                    .prior = prior.data(),
                                    .use = use.data(),
                                    .dloss = &slope,
                                    .dentropy = &entropy_slope,
                                    .dlogits = gradient.data()});
  check_gradient(class_use_loss, logits, gradient);

  const std::vector<double> target = random_values("target", s.count(), -2, 2);
  const std::vector<double> weight{0.5, 2, 1};
  run(Reference{}, MeanSquaredErrorBackward{.n = 3,
                                            .per_sample = 12,
                                            .prediction = logits.data(),
                                            .target = target.data(),
                                            .weight = weight.data(),
                                            .dloss = &slope,
                                            .dprediction = gradient.data()});
  check_gradient(
      [&](Values at) {
        double loss = 0;
        run(Reference{}, MeanSquaredErrorForward{.n = 3,
                                                 .per_sample = 12,
                                                 .prediction = at.data(),
                                                 .target = target.data(),
                                                 .weight = weight.data(),
                                                 .loss = &loss});
        return slope * loss;
      },
      logits, gradient);
}

}  // namespace anaphase::test
