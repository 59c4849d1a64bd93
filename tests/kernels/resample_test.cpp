// SPDX-License-Identifier: Apache-2.0
#include "kernels/resample/resample.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

constexpr ResampleMode modes[] = {ResampleMode::nearest, ResampleMode::linear,
                                  ResampleMode::linear_aligned};

std::int64_t in_count(const ResampleShape& s) {
  return std::int64_t{s.n} * s.d * s.h * s.w * s.c;
}
std::int64_t out_count(const ResampleShape& s) {
  return std::int64_t{s.n} * s.out_d * s.out_h * s.out_w * s.c;
}

// doubling and halving, odd ratios both ways, single pixels, volumes, many channels
const ResampleShape shapes[] = {
    {.n = 2, .h = 5, .w = 7, .out_h = 10, .out_w = 14, .c = 16},
    {.n = 1, .h = 33, .w = 40, .out_h = 66, .out_w = 80, .c = 33},
    {.n = 1, .h = 1, .w = 1, .out_h = 2, .out_w = 3, .c = 3},
    {.n = 1, .h = 4, .w = 6, .out_h = 1, .out_w = 1, .c = 1},
    {.n = 2, .h = 12, .w = 8, .out_h = 6, .out_w = 4, .c = 7},
    {.n = 1, .h = 11, .w = 13, .out_h = 17, .out_w = 5, .c = 8},
    {.n = 1, .h = 3, .w = 5, .out_h = 29, .out_w = 31, .c = 2},
    {.n = 1, .h = 9, .w = 9, .out_h = 9, .out_w = 9, .c = 5},
    {.n = 2, .d = 3, .h = 4, .w = 5, .out_d = 6, .out_h = 8, .out_w = 10, .c = 9},
    {.n = 1, .d = 5, .h = 2, .w = 3, .out_d = 2, .out_h = 3, .out_w = 7, .c = 17},
    {.n = 1, .h = 3, .w = 2, .out_h = 6, .out_w = 4, .c = 300},
    {.n = 3, .h = 4, .w = 4, .out_h = 8, .out_w = 8, .c = 64},
    {.n = 1, .d = 4, .h = 5, .w = 3, .out_d = 3, .out_h = 10, .out_w = 3, .c = 24},
};

std::vector<double> resampled_line(const Target& target, const std::vector<double>& x, int out,
                                   ResampleMode mode) {
  Arena m(target.stream, target.type, target.type);
  run_in(m, [&](Arena&) {
    return ResampleForward{.shape = {.w = static_cast<int>(x.size()), .out_w = out, .mode = mode},
                           .type = m.type(),
                           .x = m.input("x", x),
                           .y = m.output("y", out)};
  });
  return m.values("y");
}

}  // namespace

TEST_CASE("resample forward and backward") {
  for (ResampleShape shape : shapes)
    for (const ResampleMode mode : modes) {
      shape.mode = mode;
      CAPTURE(shape.out_h);
      CAPTURE(static_cast<int>(mode));
      for_each_target([&](const Target& target) {
        const auto forward = [&](Arena& m) {
          return ResampleForward{.shape = shape,
                                 .type = m.type(),
                                 .x = m.input("x", in_count(shape)),
                                 .y = m.output("y", out_count(shape))};
        };
        const auto backward = [&](Arena& m) {
          return ResampleBackward{.shape = shape,
                                  .type = m.type(),
                                  .dy = m.input("dy", out_count(shape)),
                                  .dx = m.output("dx", in_count(shape))};
        };
        // forward: up to 8 products of rounded weights. Backward: an input pixel has weight in
        // no more outputs than there are, at most 900 here, each product off by a few roundings
        const double taps =
            static_cast<double>(out_count(shape)) / static_cast<double>(in_count(shape));
        compare(target, forward, {.absolute = 16 * 0x1p-24});
        compare(target, backward, {.absolute = 16 * 0x1p-24 * (8 + 4 * taps)});
        compare_thread_counts(target, forward);
        compare_thread_counts(target, backward);
      });
    }
}

TEST_CASE("resampled channels come behind those of a skip connection") {
  struct Case {
    ResampleShape shape;
    int skip_channels;
  };
  const Case cases[] = {{{.n = 2, .h = 5, .w = 7, .out_h = 10, .out_w = 14, .c = 16}, 16},
                        {{.n = 1, .h = 9, .w = 4, .out_h = 17, .out_w = 8, .c = 3}, 1},
                        {{.n = 1, .h = 2, .w = 3, .out_h = 7, .out_w = 70, .c = 24}, 8},
                        {{.n = 1, .h = 6, .w = 2, .out_h = 3, .out_w = 5, .c = 8}, 33},
                        {{.n = 2, .d = 2, .h = 2, .w = 3, .out_d = 3, .out_h = 4, .out_w = 5}, 64}};
  for (const Case& one : cases)
    for (const ResampleMode mode : modes) {
      ResampleShape shape = one.shape;
      const int skip_channels = one.skip_channels;
      shape.mode = mode;
      CAPTURE(skip_channels);
      CAPTURE(static_cast<int>(mode));
      const std::int64_t skips = out_count(shape) / shape.c * skip_channels;
      for_each_target([&](const Target& target) {
        const auto build = [&](Arena& m) {
          return ResampleForward{.shape = shape,
                                 .type = m.type(),
                                 .x = m.input("x", in_count(shape)),
                                 .y = m.output("y", skips + out_count(shape)),
                                 .skip = m.input("skip", skips),
                                 .skip_channels = skip_channels};
        };
        compare(target, build, {.absolute = 16 * 0x1p-24});
        compare_thread_counts(target, build);
      });
    }
  // by hand: two columns become three, behind one channel each
  const float x[] = {0, 4}, skip[] = {7, 8, 9};
  float y[6];
  run(Cpu{}, ResampleForward{.shape = {.w = 2, .out_w = 3, .mode = ResampleMode::linear_aligned},
                             .x = x,
                             .y = y,
                             .skip = skip,
                             .skip_channels = 1});
  CHECK(std::equal(y, y + 6, std::begin({7.0F, 0.0F, 8.0F, 2.0F, 9.0F, 4.0F})));
}

TEST_CASE("resample of many rows") {
  // enough for a GPU's threads to take four rows each
  for (const ResampleMode mode : {ResampleMode::nearest, ResampleMode::linear})
    for_each_target([&](const Target& target) {
      const ResampleShape up{.h = 5000, .w = 11, .out_h = 16389, .out_w = 33, .mode = mode};
      compare(target,
              [&](Arena& m) {
                return ResampleForward{.shape = up,
                                       .type = m.type(),
                                       .x = m.input("x", in_count(up)),
                                       .y = m.output("y", out_count(up))};
              },
              {.absolute = 16 * 0x1p-24});
      const ResampleShape down{.h = 16389, .w = 33, .out_h = 5000, .out_w = 11, .mode = mode};
      compare(target,
              [&](Arena& m) {
                return ResampleBackward{.shape = down,
                                        .type = m.type(),
                                        .dy = m.input("dy", out_count(down)),
                                        .dx = m.output("dx", in_count(down))};
              },
              {.absolute = 16 * 0x1p-24});
    });
}

TEST_CASE("resample by hand") {
  using Line = std::vector<double>;
  for_each_target([](const Target& target) {
    const auto line = [&](const Line& x, int out, ResampleMode mode) {
      return resampled_line(target, x, out, mode);
    };
    CHECK(line({1, 2}, 4, ResampleMode::nearest) == Line{1, 1, 2, 2});
    CHECK(line({1, 2, 3}, 5, ResampleMode::nearest) == Line{1, 1, 2, 2, 3});
    CHECK(line({1, 2, 3, 4}, 2, ResampleMode::nearest) == Line{1, 3});
    CHECK(line({0, 4}, 4, ResampleMode::linear) == Line{0, 1, 3, 4});
    CHECK(line({0, 4, 8, 12}, 2, ResampleMode::linear) == Line{2, 10});
    CHECK(line({0, 4}, 5, ResampleMode::linear_aligned) == Line{0, 1, 2, 3, 4});
    CHECK(line({0, 4, 8}, 2, ResampleMode::linear_aligned) == Line{0, 8});
    CHECK(line({3, 4, 8}, 1, ResampleMode::linear_aligned) == Line{3});
  });
}

TEST_CASE("an unused neighbour does not leak into a resampled pixel") {
  for_each_target([](const Target& target) {
    const std::vector<double> y =
        resampled_line(target, {1, INFINITY, 2}, 5, ResampleMode::linear_aligned);
    CHECK(y[0] == 1);
    CHECK(y[2] == INFINITY);
    CHECK(y[4] == 2);
  });
}

TEST_CASE("linear resampling keeps constants and, where corners coincide, linear ramps") {
  ResampleShape shape{.n = 1, .d = 3, .h = 5, .w = 4, .out_d = 4, .out_h = 11, .out_w = 7, .c = 3};
  std::vector<float> x(in_count(shape), 2), y(out_count(shape));
  for (const ResampleMode mode : modes) {
    shape.mode = mode;
    run(Cpu{}, ResampleForward{.shape = shape, .x = x.data(), .y = y.data()});
    for (const float v : y) CHECK(std::abs(v - 2) <= 1e-6);
  }
  const auto ramp = [](double d, double h, double w) { return 1 + 0.5 * d - 0.25 * h + 0.125 * w; };
  std::size_t i = 0;
  for (int d = 0; d < 3; ++d)
    for (int h = 0; h < 5; ++h)
      for (int w = 0; w < 4; ++w)
        for (int c = 0; c < 3; ++c) x[i++] = static_cast<float>(ramp(d / 2.0, h / 4.0, w / 3.0));
  shape.mode = ResampleMode::linear_aligned;
  run(Cpu{}, ResampleForward{.shape = shape, .x = x.data(), .y = y.data()});
  i = 0;
  for (int d = 0; d < 4; ++d)
    for (int h = 0; h < 11; ++h)
      for (int w = 0; w < 7; ++w)
        for (int c = 0; c < 3; ++c)
          CHECK(std::abs(y[i++] - ramp(d / 3.0, h / 10.0, w / 6.0)) <= 1e-6);
}

TEST_CASE("resample backward is the adjoint of the forward pass") {
  for (ResampleShape shape : shapes)
    for (const ResampleMode mode : modes) {
      shape.mode = mode;
      CAPTURE(shape.out_h);
      const std::vector<double> x = random_values("x", in_count(shape), -1, 1),
                                dy = random_values("dy", out_count(shape), -1, 1);
      std::vector<double> y(dy.size()), dx(x.size());
      run(Reference{}, ResampleForward{shape, DType::f64, x.data(), y.data()});
      run(Reference{}, ResampleBackward{shape, DType::f64, dy.data(), dx.data()});
      CHECK(std::abs(dot(y, dy) - dot(x, dx)) <= 1e-10);

      const std::vector<float> x32(x.begin(), x.end()), dy32(dy.begin(), dy.end());
      std::vector<float> y32(dy.size()), dx32(x.size());
      run(Cpu{}, ResampleForward{shape, DType::f32, x32.data(), y32.data()});
      run(Cpu{}, ResampleBackward{shape, DType::f32, dy32.data(), dx32.data()});
      const double forward = dot({y32.begin(), y32.end()}, dy);
      const double backward = dot(x, {dx32.begin(), dx32.end()});
      // a rounding or two of each of the products, with random signs
      CHECK(std::abs(forward - backward) <= 1e-6 * std::sqrt(static_cast<double>(dy.size())));
    }
}

TEST_CASE("the reference's backward resampling is the gradient of its forward pass") {
  ResampleShape shape{.n = 1, .d = 2, .h = 3, .w = 4, .out_d = 3, .out_h = 5, .out_w = 3, .c = 2};
  for (const ResampleMode mode : modes) {
    shape.mode = mode;
    const std::vector<double> dy = random_values("dy", out_count(shape), -1, 1);
    std::vector<double> dx(in_count(shape));
    run(Reference{}, ResampleBackward{shape, DType::f64, dy.data(), dx.data()});
    check_gradient(
        [&](const std::vector<double>& x) {
          std::vector<double> y(dy.size());
          run(Reference{}, ResampleForward{shape, DType::f64, x.data(), y.data()});
          return dot(y, dy);
        },
        random_values("x", in_count(shape), -1, 1), dx);
  }
}

}  // namespace anaphase::test
