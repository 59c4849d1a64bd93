// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

constexpr double rounding = 0x1p-24;  // of one float operation
constexpr Tolerance exact{.relative = 0, .bf16_relative = 0};
const std::int64_t counts[] = {1, 3, 7, 17, 33, 127, 8191, 8193, 40000};

struct Pixels {
  int n, pixels, channels;
};
const Pixels shapes[] = {{1, 1, 1},
                         {2, 5, 3},
                         {3, 33, 7},
                         {1, 127, 17},
                         {2, 1023, 16},
                         {2, 700, 8},
                         {1, 40000, 1},
                         {1, 9, 1000},
                         {2, 257, 65},
                         {3, 130, 256},
                         // samples enough for a GPU's wide strips, and more than its grid has rows
                         {130, 37, 33},
                         {130, 133, 24},
                         {1027, 2, 3}};

}  // namespace

TEST_CASE("fill writes one value everywhere") {
  for (const std::int64_t count : counts)
    for_each_target([&](const Target& target) {
      const auto fill = [&](Arena& m) {
        return Fill{.count = count, .type = m.type(), .value = -2.5, .y = m.output("y", count)};
      };
      compare(target, fill, exact);  // -2.5 is a bf16 number
      compare_thread_counts(target, fill);
      compare(
          target,
          [&](Arena& m) {
            return Fill{.count = count,
                        .type = DType::i32,
                        .value = -7,
                        .y = m.label_output("labels", count)};
          },
          exact);
    });
}

TEST_CASE("cast between the storage type and float is exact one way and rounds the other") {
  for (const std::int64_t count : counts)
    for_each_target([&](const Target& target) {
      const auto widen = [&](Arena& m) {
        return Cast{.count = count,
                    .from = m.type(),
                    .to = m.param(),
                    .x = m.input("x", count, -100, 100),
                    .y = m.param_output("y", count)};
      };
      compare(target, widen, exact);
      const auto narrow = [&](Arena& m) {
        return Cast{.count = count,
                    .from = m.param(),
                    .to = m.type(),
                    .x = m.param_input("x", count, -100, 100),
                    .y = m.output("y", count)};
      };
      compare(target, narrow, {.relative = 0, .bf16_relative = 0x1p-8});  // half an ulp
      compare_thread_counts(target, narrow);
      compare(
          target,
          [&](Arena& m) {
            return Cast{.count = count,
                        .from = DType::i32,
                        .to = DType::i32,
                        .x = m.labels("x", std::vector<std::int32_t>(count, -123456789)),
                        .y = m.label_output("y", count)};
          },
          exact);
    });
}

TEST_CASE("cast to bf16 rounds to nearest even and keeps what is not a number") {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> x = {1,
                                 1 + 0x1p-8,            // halfway, below is even
                                 1 + 0x3p-8,            // halfway, above is even
                                 1 + 0x1p-8 + 0x1p-20,  // just above halfway
                                 -0.0,
                                 infinity,
                                 -infinity,
                                 std::numeric_limits<float>::max(),
                                 0x1p-133,  // the smallest subnormal of bf16
                                 0x1p-135,
                                 nan};
  const std::vector<double> expected = {1,         1,        1 + 0x1p-6, 1 + 0x1p-7, -0.0, infinity,
                                        -infinity, infinity, 0x1p-133,   0,          nan};
  for_each_target([&](const Target& target) {
    if (target.type != DType::bf16) return;
    Arena m(target.stream, target.type, target.type);
    const auto count = static_cast<std::int64_t>(x.size());
    launch(m.stream(), Cast{.count = count,
                            .from = DType::f32,
                            .to = DType::bf16,
                            .x = m.param_input("x", x),
                            .y = m.output("y", count)});
    const std::vector<double> y = m.values("y");
    for (std::size_t i = 0; i + 1 < x.size(); ++i) {
      CAPTURE(i);
      CHECK(std::bit_cast<std::uint64_t>(y[i]) == std::bit_cast<std::uint64_t>(expected[i]));
    }
    CHECK(std::isnan(y.back()));
  });
}

TEST_CASE("a cast to float and back returns every bf16 number") {
  const int count = 1 << 16;
  std::vector<double> all(count);
  for (int i = 0; i < count; ++i)
    all[i] = std::bit_cast<float>(static_cast<std::uint32_t>(i) << 16);
  for_each_target([&](const Target& target) {
    if (target.type != DType::bf16) return;
    Arena m(target.stream, target.type, target.type);
    const void* x = m.input("x", all);
    void* wide = m.param_output("wide", count);
    void* back = m.output("back", count);
    launch(m.stream(), Cast{count, DType::bf16, DType::f32, x, wide});
    launch(m.stream(), Cast{count, DType::f32, DType::bf16, wide, back});
    const std::vector<double> y = m.values("back");
    int wrong = 0;
    for (int i = 0; i < count; ++i)
      wrong += std::isnan(all[i])
                   ? !std::isnan(y[i])
                   : std::bit_cast<std::uint64_t>(all[i]) != std::bit_cast<std::uint64_t>(y[i]);
    CHECK(wrong == 0);
  });
}

TEST_CASE("types that cannot be cast or filled are refused") {
  double x = 1;
  for_each_target([&](const Target& target) {
    CHECK_THROWS_AS(launch(target.stream, Cast{1, DType::f64, DType::f32, &x, &x}), Error);
    CHECK_THROWS_AS(launch(target.stream, Fill{1, DType::u64, 1, &x}), Error);
  });
  CHECK_THROWS_AS(run(Reference{}, Fill{1, DType::u64, 1, &x}), Error);
  CHECK_THROWS_AS(run(Reference{}, Cast{1, DType::i32, DType::f64, &x, &x}), Error);
}

TEST_CASE("add scaled") {
  for (const std::int64_t count : counts)
    for_each_target([&](const Target& target) {
      // alpha a, beta b, their sum and the factor round once each: 4 roundings of at most
      // (|alpha| + |beta|) * |factor| for inputs below 1
      const Tolerance four{.absolute = 4 * rounding * (1.5 + 0.75) * 3};
      const auto with_all = [&](Arena& m) {
        return AddScaled{.count = count,
                         .type = m.type(),
                         .a = m.input("a", count),
                         .b = m.input("b", count),
                         .alpha = 1.5,
                         .beta = -0.75,
                         .factor = m.param_input("factor", std::vector<double>{3}),
                         .y = m.output("y", count)};
      };
      compare(target, with_all, four);
      compare_thread_counts(target, with_all);
      compare(
          target,
          [&](Arena& m) {
            return AddScaled{.count = count,
                             .type = m.type(),
                             .a = m.input("a", count),
                             .b = nullptr,
                             .alpha = -0.3,
                             .y = m.output("y", count)};
          },
          four);
      for (const bool over_a : {true, false})
        compare(
            target,
            [&](Arena& m) {
              void* y = m.in_out("y", count);
              const void* other = m.input("other", count);
              return AddScaled{.count = count,
                               .type = m.type(),
                               .a = over_a ? y : other,
                               .b = over_a ? other : y,
                               .alpha = 0.9,
                               .beta = 0.2,
                               .y = y};
            },
            four);
    });
}

TEST_CASE("add scaled by hand") {
  const float a = 3, b = 4, factor = 0.5F;
  float y = 0;
  AddScaled op{.count = 1, .a = &a, .b = &b, .y = &y};
  const auto answer = [&] {
    run(Cpu{}, op);
    return y;
  };
  CHECK(answer() == 7);
  op.alpha = 2;
  CHECK(answer() == 10);
  op.beta = -1;
  CHECK(answer() == 2);
  op.factor = &factor;
  CHECK(answer() == 1);
  op.b = nullptr;
  CHECK(answer() == 3);
}

TEST_CASE("add per sample") {
  for (const Pixels& s : shapes) {
    CAPTURE(s.channels);
    const std::int64_t count = std::int64_t{s.n} * s.pixels * s.channels;
    for_each_target([&](const Target& target) {
      const Tolerance one{.relative = 0, .absolute = rounding * 4};  // one rounding of at most 4
      const auto build = [&](Arena& m) {
        return AddPerSample{.n = s.n,
                            .pixels = s.pixels,
                            .channels = s.channels,
                            .type = m.type(),
                            .x = m.input("x", count),
                            .v = m.input("v", s.n * s.channels, -3, 3),
                            .y = m.output("y", count)};
      };
      compare(target, build, one);
      compare_thread_counts(target, build);
      compare(
          target,
          [&](Arena& m) {
            void* y = m.in_out("y", count);
            return AddPerSample{.n = s.n,
                                .pixels = s.pixels,
                                .channels = s.channels,
                                .type = m.type(),
                                .x = y,
                                .v = m.input("v", s.n * s.channels, -3, 3),
                                .y = y};
          },
          one);
    });
  }
}

TEST_CASE("sum per sample") {
  for (const Pixels& s : shapes)
    for (const double offset : {0.0, 1000.0}) {
      CAPTURE(s.channels);
      for_each_target([&](const Target& target) {
        const auto build = [&](Arena& m) {
          return SumPerSample{
              .n = s.n,
              .pixels = s.pixels,
              .channels = s.channels,
              .type = m.type(),
              .x = m.input("x", std::int64_t{s.n} * s.pixels * s.channels, offset - 1, offset + 1),
              .v = m.output("v", s.n * s.channels)};
        };
        // The CPU adds at most 128 numbers in a row in float, a GPU at most 40000 / (4 * 32) + 17
        // (kernels/elementwise/sum_per_sample.cu): as many roundings of a partial sum each.
        compare(target, build, {.absolute = 330 * rounding * s.pixels * (offset + 1)});
        compare_thread_counts(target, build);
      });
    }
}

TEST_CASE("the sum per sample is the adjoint of adding a vector") {
  const int n = 2, pixels = 5, channels = 3, count = n * pixels * channels;
  const std::vector<double> v = random_values("v", n * channels, -1, 1);
  const std::vector<double> dy = random_values("dy", count, -1, 1);
  std::vector<double> dv(n * channels);
  run(Reference{}, SumPerSample{n, pixels, channels, DType::f64, dy.data(), dv.data()});
  const auto forward = [&](const std::vector<double>& vector) {
    const std::vector<double> x(count, 0.25);
    std::vector<double> y(count);
    run(Reference{},
        AddPerSample{n, pixels, channels, DType::f64, x.data(), vector.data(), y.data()});
    return dot(y, dy);
  };
  check_gradient(forward, v, dv);
}

}  // namespace anaphase::test
