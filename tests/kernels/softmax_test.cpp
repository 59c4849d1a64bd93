// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

struct Size {
  int rows, classes;
};
// Every number of classes that GPU kernels are compiled for, 2 to 8, and others; whole packs of
// rows and broken ones.
constexpr Size sizes[] = {{1, 1},   {1, 2},   {3, 3},    {17, 2},   {255, 4}, {257, 2}, {129, 3},
                          {33, 5},  {67, 6},  {31, 7},   {127, 8},  {8, 8},   {7, 9},   {40, 16},
                          {520, 1}, {65, 33}, {301, 33}, {4097, 2}, {3, 255}};

// Two exponentials of 2 ulp, their sum and quotient: below 2^-20 relative to value + scale.
constexpr Tolerance tolerance{.relative = 0x1p-20};

/// Rows whose classes are those of `x`, over and over: as meaningful with many classes as with few.
std::vector<double> repeated_classes(const std::vector<double>& x, int classes, int copies) {
  std::vector<double> repeated;
  for (auto row = x.begin(); row != x.end(); row += classes)
    for (int i = 0; i < copies; ++i) repeated.insert(repeated.end(), row, row + classes);
  return repeated;
}

}  // namespace

TEST_CASE("softmax agrees with the reference, with gain and offset, in and out of place") {
  for (const Size s : sizes) {
    CAPTURE(s.rows);
    CAPTURE(s.classes);
    const int count = s.rows * s.classes;
    for (const auto& [gain, offset] : {std::pair{1.0F, 0.0F}, std::pair{2.0F, -1.0F}}) {
      for_each_target([&](const Target& target) {
        const auto forward = [&](Arena& m) {
          return SoftmaxForward{.rows = s.rows,
                                .classes = s.classes,
                                .type = m.type(),
                                .gain = gain,
                                .offset = offset,
                                .x = m.input("x", count, -10, 10),
                                .y = m.output("y", count)};
        };
        const auto forward_in_place = [&](Arena& m) {
          SoftmaxForward op{.rows = s.rows,
                            .classes = s.classes,
                            .type = m.type(),
                            .gain = gain,
                            .offset = offset};
          op.x = op.y = m.in_out("x", count, -10, 10);
          return op;
        };
        const auto backward = [&](Arena& m) {
          return SoftmaxBackward{.rows = s.rows,
                                 .classes = s.classes,
                                 .type = m.type(),
                                 .gain = gain,
                                 .offset = offset,
                                 .y = m.input("y", count, offset, gain + offset),
                                 .dy = m.input("dy", count),
                                 .dx = m.output("dx", count)};
        };
        const auto backward_in_place = [&](Arena& m) {
          SoftmaxBackward op{.rows = s.rows,
                             .classes = s.classes,
                             .type = m.type(),
                             .gain = gain,
                             .offset = offset,
                             .y = m.input("y", count, offset, gain + offset)};
          op.dy = op.dx = m.in_out("dy", count);
          return op;
        };
        compare(target, forward, tolerance);
        compare(target, forward_in_place, tolerance);
        // The gradient's sum over the classes, term after term in float.
        const Tolerance of_sum{.relative = tolerance.relative + s.classes * 0x1p-24};
        compare(target, backward, of_sum);
        compare(target, backward_in_place, of_sum);
        compare_thread_counts(target, forward);
        compare_thread_counts(target, backward);
      });
    }
  }
}

TEST_CASE("softmax of extreme logits") {
  const double inf = INFINITY;
  const std::vector<double> x{1e30,  -1e30,    0,      // one class takes all
                              -1e30, -1e30,    -1e30,  // equal
                              1e4,   1e4 + 64, 1e4,    // a large common offset
                              -inf,  0,        0,      // a class ruled out
                              1,     NAN,      0,      // NaN spoils its row
                              NAN,   1,        0,      //
                              -88,   0,        -104};  // barely representable
  for (const int copies : {1, 4}) {
    const std::vector<double> repeated = repeated_classes(x, 3, copies);
    for_each_target([&](const Target& target) {
      compare(
          target,
          [&](Arena& m) {
            return SoftmaxForward{.rows = 7,
                                  .classes = 3 * copies,
                                  .type = m.type(),
                                  .x = m.input("x", repeated),
                                  .y = m.output("y", 21 * copies)};
          },
          tolerance);
    });
  }
}

TEST_CASE("argmax agrees with the reference and leaves out what is not confident") {
  for (const Size s : sizes) {
    for (const double confidence : {0.0, 0.4, 0.9}) {
      for (const bool probabilities : {false, true}) {
        for_each_target([&](const Target& target) {
          const auto build = [&](Arena& m) {
            return Argmax{.rows = s.rows,
                          .classes = s.classes,
                          .type = m.type(),
                          .confidence = static_cast<float>(confidence),
                          .probabilities = probabilities,
                          .x = m.input("x", s.rows * s.classes, 0, probabilities ? 1 : 4),
                          .labels = m.label_output("labels", s.rows)};
          };
          compare(target, build, {.relative = 0, .bf16_relative = 0});
          compare_thread_counts(target, build);
        });
      }
    }
  }
}

TEST_CASE("argmax of NaN and infinity is the reference's") {
  const double inf = INFINITY;
  const std::vector<double> x{NAN,  1,    0,    // a NaN counts as the first class,
                              1,    NAN,  0,    // not as another
                              1,    2,    NAN,  //
                              0,    inf,  inf,  //
                              -inf, -inf, 3,    //
                              -inf, -inf, -inf};
  for (const int copies : {1, 4}) {
    for (const float confidence : {0.0F, 0.5F}) {
      for_each_target([&](const Target& target) {
        compare(target,
                [&](Arena& m) {
                  return Argmax{.rows = 6,
                                .classes = 3 * copies,
                                .type = m.type(),
                                .confidence = confidence,
                                .x = m.input("x", repeated_classes(x, 3, copies)),
                                .labels = m.label_output("labels", 6)};
                },
                {.relative = 0, .bf16_relative = 0});
      });
    }
  }
}

TEST_CASE("argmax takes the lowest of equal classes and keeps what is exactly confident") {
  const std::vector<double> x{0, 1, 1, 2, 2, 2, -1, -2, -1};
  const auto check = [&](const Stream& stream, DType type) {
    const auto labels = [&](float confidence, int copies = 1) {
      Arena m(stream, type, type);
      run_in(m, [&](Arena& arena) {
        return Argmax{.rows = 3,
                      .classes = 3 * copies,
                      .type = type,
                      .confidence = confidence,
                      .x = arena.input("x", repeated_classes(x, 3, copies)),
                      .labels = arena.label_output("labels", 3)};
      });
      return m.values("labels");
    };
    CHECK(labels(0) == std::vector<double>{1, 0, 0});
    CHECK(labels(0, 7) == std::vector<double>{1, 0, 0});
    // The largest probabilities: e / (1 + 2e) = 0.4223, 1/3, and 0.4223 again.
    CHECK(labels(0.4F) == std::vector<double>{1, -1, 0});
    CHECK(labels(0.43F) == std::vector<double>{-1, -1, -1});

    Arena m(stream, type, type);
    run_in(m, [&](Arena& arena) {
      return Argmax{.rows = 2,
                    .classes = 2,
                    .type = type,
                    .confidence = 0.75F,
                    .probabilities = true,
                    .x = arena.input("x", {0.25, 0.75, 0.5, 0.5}),
                    .labels = arena.label_output("labels", 2)};
    });
    CHECK(m.values("labels") == std::vector<double>{1, -1});
  };
  check({DeviceKind::reference}, DType::f64);
  for_each_target([&](const Target& target) { check(target.stream, target.type); });
}

TEST_CASE("one-hot writes on and off, and off for what is ignored") {
  for (const Size s : sizes) {
    CAPTURE(s.rows);
    CAPTURE(s.classes);
    std::vector<std::int32_t> labels(s.rows);
    for (int r = 0; r < s.rows; ++r) labels[r] = r % (s.classes + 1) - 1;
    for_each_target([&](const Target& target) {
      const auto build = [&](Arena& m) {
        return OneHot{.rows = s.rows,
                      .classes = s.classes,
                      .type = m.type(),
                      .on = 0.75F,
                      .off = -0.5F,
                      .labels = m.labels("labels", labels),
                      .y = m.output("y", s.rows * s.classes)};
      };
      compare(target, build, {.relative = 0, .bf16_relative = 0});
      compare_thread_counts(target, build);
    });
  }
  const std::int32_t labels[] = {1, ignore_label, 0};
  std::vector<double> y(6);
  run(Reference{},
      OneHot{.rows = 3, .classes = 2, .on = 1, .off = -1, .labels = labels, .y = y.data()});
  CHECK(y == std::vector<double>{-1, 1, -1, -1, 1, -1});
}

TEST_CASE("the reference's softmax by hand, and its rows sum to gain + classes * offset") {
  const std::vector<double> x{0, std::log(3), 5, 5};
  std::vector<double> y(4);
  run(Reference{}, SoftmaxForward{.rows = 2, .classes = 2, .x = x.data(), .y = y.data()});
  CHECK(y[0] == doctest::Approx(0.25).epsilon(1e-15));
  CHECK(y[1] == doctest::Approx(0.75).epsilon(1e-15));
  CHECK(y[2] == 0.5);
  const std::vector<double> logits = random_values("logits", 50, -4, 4);
  std::vector<double> signal(50);
  run(Reference{}, SoftmaxForward{.rows = 10,
                                  .classes = 5,
                                  .gain = 2,
                                  .offset = -1,
                                  .x = logits.data(),
                                  .y = signal.data()});
  for (int r = 0; r < 10; ++r) {
    double sum = 0;
    for (int k = 0; k < 5; ++k) sum += signal[r * 5 + k];
    CHECK(std::abs(sum - (2 - 5)) < 1e-14);
  }
}

TEST_CASE("the reference's gradient is that of its softmax") {
  const std::vector<double> x = random_values("x", 12, -2, 2), dy = random_values("dy", 12, -1, 1);
  const auto forward = [](const std::vector<double>& at) {
    std::vector<double> y(12);
    run(Reference{},
        SoftmaxForward{
            .rows = 4, .classes = 3, .gain = 2, .offset = -1, .x = at.data(), .y = y.data()});
    return y;
  };
  const std::vector<double> y = forward(x);
  std::vector<double> dx(12);
  run(Reference{}, SoftmaxBackward{.rows = 4,
                                   .classes = 3,
                                   .gain = 2,
                                   .offset = -1,
                                   .y = y.data(),
                                   .dy = dy.data(),
                                   .dx = dx.data()});
  check_gradient([&](const std::vector<double>& at) { return dot(forward(at), dy); }, x, dx);
}

}  // namespace anaphase::test
