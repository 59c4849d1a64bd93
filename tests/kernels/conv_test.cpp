// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernels/contract.hpp"
#include "tests/kernels/conv_sizes.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

const Stream reference_stream{DeviceKind::reference};
const Stream cpu_stream{DeviceKind::cpu};

/// The reference device and, for float32, those that compute in it on any machine.
std::vector<Stream> streams() {
  std::vector<Stream> all = {reference_stream, cpu_stream};
  if (has_simt) all.push_back({DeviceKind::simt});
  return all;
}

ConvShape square(int n, int h, int w, int c_in, int c_out, int kernel, int stride, int pad) {
  return {.n = n,
          .h = h,
          .w = w,
          .c_in = c_in,
          .c_out = c_out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .stride_h = stride,
          .stride_w = stride,
          .pad_h = pad,
          .pad_w = pad};
}

/// 1x1, 3x3 and 4x4 kernels, strides, sizes and paddings that differ by axis, few and odd channels,
/// three dimensions.
const std::vector<ConvShape>& shapes() {
  static const std::vector<ConvShape> all = {
      square(1, 1, 1, 1, 1, 1, 1, 0),
      square(2, 7, 9, 5, 7, 3, 1, 1),
      square(3, 16, 11, 16, 33, 3, 1, 1),
      square(2, 9, 8, 17, 16, 3, 2, 1),
      square(1, 10, 12, 8, 24, 4, 2, 1),
      square(2, 13, 5, 48, 3, 1, 1, 0),
      square(1, 8, 8, 3, 64, 1, 2, 0),
      square(1, 6, 6, 127, 1, 3, 1, 1),
      // Few output channels of as many input channels as fill vectors of them.
      square(1, 4, 19, 32, 1, 3, 2, 1),
      square(2, 5, 13, 32, 2, 3, 1, 1),
      square(1, 3, 7, 64, 3, 3, 1, 0),
      square(2, 3, 11, 64, 4, 1, 1, 0),
      square(1, 5, 5, 4, 4, 3, 1, 0),
      // The same but for one padding each: plans must not be taken for one another.
      square(1, 5, 5, 4, 4, 3, 1, 1),
      {.h = 5, .w = 5, .c_in = 4, .c_out = 4, .kernel_h = 3, .kernel_w = 3, .pad_h = 1},
      {.h = 5, .w = 5, .c_in = 4, .c_out = 4, .kernel_h = 3, .kernel_w = 3, .pad_w = 1},
      {.n = 2,
       .h = 11,
       .w = 6,
       .c_in = 6,
       .c_out = 10,
       .kernel_h = 1,
       .kernel_w = 5,
       .stride_h = 3,
       .stride_w = 2,
       .pad_h = 0,
       .pad_w = 2},
      {.n = 2,
       .d = 5,
       .h = 6,
       .w = 7,
       .c_in = 3,
       .c_out = 18,
       .kernel_d = 3,
       .kernel_h = 3,
       .kernel_w = 3,
       .pad_d = 1,
       .pad_h = 1,
       .pad_w = 1},
      {.n = 1,
       .d = 4,
       .h = 9,
       .w = 5,
       .c_in = 16,
       .c_out = 16,
       .kernel_d = 2,
       .kernel_h = 3,
       .kernel_w = 1,
       .stride_d = 2,
       .stride_h = 1,
       .stride_w = 2,
       .pad_d = 0,
       .pad_h = 1,
       .pad_w = 0},
      {.n = 1, .h = 4, .w = 4, .c_in = 2, .c_out = 3, .kernel_d = 3, .pad_d = 1},  // flat, deep
  };
  return all;
}

/// Every tile of the weight gradient's kernels: many and few channels of either kind, rows and
/// columns of tiles that are not full, one and many parts of the pixels.
const std::vector<ConvShape>& tiled_shapes() {
  static const std::vector<ConvShape> all = {
      square(2, 7, 9, 8, 136, 3, 1, 1),
      square(1, 5, 9, 16, 40, 3, 1, 1),
      square(1, 9, 5, 8, 24, 3, 2, 1),
      square(3, 5, 3, 24, 16, 3, 1, 1),
      square(2, 7, 5, 16, 72, 1, 1, 0),
      square(2, 13, 5, 48, 3, 1, 1, 0),
      square(2, 9, 8, 17, 16, 3, 2, 1),
      square(1, 8, 8, 3, 64, 1, 2, 0),
      square(2, 7, 9, 5, 7, 3, 1, 1),
      square(2, 33, 40, 8, 8, 1, 1, 0),
      square(1, 19, 21, 8, 8, 1, 1, 0),
      square(1, 1, 1, 8, 8, 1, 1, 0),
      {.n = 2,
       .d = 3,
       .h = 4,
       .w = 5,
       .c_in = 8,
       .c_out = 24,
       .kernel_d = 3,
       .kernel_h = 3,
       .kernel_w = 2,
       .stride_w = 2,
       .pad_d = 1,
       .pad_h = 1},
  };
  return all;
}

/// The error of a float sum of `terms` random products: each addition rounds by up to 2^-24 of a
/// partial sum no larger than the result's usual size, in random directions, which makes
/// sqrt(terms) 2^-24; six deviations, because millions of sums are looked at. A fused activation
/// adds a few ulp of its own.
Tolerance sum_of(std::int64_t terms) {
  return {.relative = 6 * std::sqrt(static_cast<double>(terms)) * 0x1p-24 + 0x1p-21};
}

ConvForward forward(Arena& m, const ConvShape& s) {
  return {.shape = s,
          .type = m.type(),
          .x = m.input("x", count_x(s)),
          .weight = m.input("weight", count_weight(s)),
          .y = m.output("y", count_y(s))};
}

ConvInputGradient input_gradient(Arena& m, const ConvShape& s) {
  return {.shape = s,
          .type = m.type(),
          .dy = m.input("dy", count_y(s)),
          .weight = m.input("weight", count_weight(s)),
          .dx = m.output("dx", count_x(s))};
}

ConvWeightGradient weight_gradient(Arena& m, const ConvShape& s, bool bias = true) {
  return {.shape = s,
          .type = m.type(),
          .x = m.input("x", count_x(s)),
          .dy = m.input("dy", count_y(s)),
          .dweight = m.param_output("dweight", count_weight(s)),
          .dbias = bias ? m.param_output("dbias", s.c_out) : nullptr};
}

std::vector<double> integers(const std::string& name, std::int64_t count) {
  std::vector<double> values = random_values(name, count, -3, 4);
  for (double& value : values) value = std::floor(value);
  return values;
}

}  // namespace

TEST_CASE("conv reference gives hand-worked values") {
  // A 2x3 image of one channel, a 3x3 kernel of ones with 10 in its middle, and bias 0.5.
  const std::vector<double> x = {1, 2, 3, 4, 5, 6}, weight = {1, 1, 1, 1, 10, 1, 1, 1, 1};
  const double bias = 0.5;
  std::vector<double> y(6), dx(6), dweight(9);
  double dbias = 0;
  const ConvShape s = square(1, 2, 3, 1, 1, 3, 1, 1);
  run(Reference{}, ConvForward{.shape = s,
                               .type = DType::f64,
                               .x = x.data(),
                               .weight = weight.data(),
                               .bias = &bias,
                               .y = y.data()});
  CHECK(y == std::vector<double>{21.5, 39.5, 43.5, 48.5, 66.5, 70.5});
  // One dy of 2 at the last pixel reaches the 2x2 corner and sees the image in the weights.
  const std::vector<double> dy = {0, 0, 0, 0, 0, 2};
  run(Reference{}, ConvInputGradient{.shape = s,
                                     .type = DType::f64,
                                     .dy = dy.data(),
                                     .weight = weight.data(),
                                     .dx = dx.data()});
  CHECK(dx == std::vector<double>{0, 2, 2, 0, 2, 20});
  run(Reference{}, ConvWeightGradient{.shape = s,
                                      .type = DType::f64,
                                      .x = x.data(),
                                      .dy = dy.data(),
                                      .dweight = dweight.data(),
                                      .dbias = &dbias});
  CHECK(dweight == std::vector<double>{4, 6, 0, 10, 12, 0, 0, 0, 0});
  CHECK(dbias == 2);
}

TEST_CASE("conv uses its weights as [c_out, kernel_d, kernel_h, kernel_w, c_in]") {
  // One tap of one pair of channels is set: it moves that channel by one pixel.
  const ConvShape s = square(1, 3, 4, 2, 3, 3, 1, 1);
  const int c_out = 2, kernel_h = 0, kernel_w = 2, c_in = 1;
  std::vector<double> weight(count_weight(s), 0.0);
  weight[((c_out * 3 + kernel_h) * 3 + kernel_w) * 2 + c_in] = 1;
  for (const Stream& stream : streams()) {
    const DType type = stream.kind == DeviceKind::reference ? DType::f64 : DType::f32;
    Arena m(stream, type, DType::f32);
    run_in(m, [&](Arena& arena) {
      return ConvForward{.shape = s,
                         .type = type,
                         .x = arena.input("x", count_x(s)),
                         .weight = arena.input("weight", weight),
                         .y = arena.output("y", count_y(s))};
    });
    const std::vector<double> x = m.values("x"), y = m.values("y");
    for (int h = 0; h < 3; ++h)
      for (int w = 0; w < 4; ++w) {
        const bool inside = h - 1 >= 0 && w + 1 < 4;
        CHECK(y[(h * 4 + w) * 3 + 2] == (inside ? x[((h - 1) * 4 + w + 1) * 2 + 1] : 0));
        CHECK(y[(h * 4 + w) * 3 + 0] == 0);
      }
  }
}

TEST_CASE("conv agrees with the reference in all three directions") {
  for (const ConvShape& s : shapes()) {
    const std::int64_t taps = std::int64_t{s.kernel_d} * s.kernel_h * s.kernel_w;
    const std::int64_t pixels = count_y(s) / s.c_out;
    CAPTURE(s.h);
    CAPTURE(s.c_in);
    CAPTURE(s.c_out);
    for_each_target([&](const Target& target) {
      compare(
          target, [&](Arena& m) { return forward(m, s); }, sum_of(taps * s.c_in));
      compare(
          target, [&](Arena& m) { return input_gradient(m, s); }, sum_of(taps * s.c_out));
      // Weight gradients are float even for bf16 activations.
      Tolerance in_float = sum_of(pixels);
      in_float.bf16_relative = 0;
      for (const bool bias : {true, false})
        compare(
            target, [&](Arena& m) { return weight_gradient(m, s, bias); }, in_float);
    });
  }
}

TEST_CASE("conv sums small integers exactly") {
  for (const ConvShape& s : shapes()) {
    for_each_target([&](const Target& target) {
      const Tolerance exact_in_float{};  // a bf16 y or dx is still rounded once
      compare(
          target,
          [&](Arena& m) {
            return ConvForward{.shape = s,
                               .type = m.type(),
                               .x = m.input("x", integers("x", count_x(s))),
                               .weight = m.input("weight", integers("weight", count_weight(s))),
                               .bias = m.param_input("bias", integers("bias", s.c_out)),
                               .y = m.output("y", count_y(s))};
          },
          exact_in_float);
      compare(
          target,
          [&](Arena& m) {
            return ConvInputGradient{
                .shape = s,
                .type = m.type(),
                .dy = m.input("dy", integers("dy", count_y(s))),
                .weight = m.input("weight", integers("weight", count_weight(s))),
                .dx = m.output("dx", count_x(s))};
          },
          exact_in_float);
      compare(target,
              [&](Arena& m) {
                return ConvWeightGradient{.shape = s,
                                          .type = m.type(),
                                          .x = m.input("x", integers("x", count_x(s))),
                                          .dy = m.input("dy", integers("dy", count_y(s))),
                                          .dweight = m.param_output("dweight", count_weight(s)),
                                          .dbias = m.param_output("dbias", s.c_out)};
              },
              {.bf16_relative = 0});
    });
  }
}

TEST_CASE("conv adds bias and residual before the activation") {
  const Activation activations[] = {Activation::none, Activation::relu, Activation::leaky_relu,
                                    Activation::silu, Activation::gelu};
  const ConvShape all[] = {square(2, 9, 7, 16, 17, 3, 1, 1), square(1, 6, 5, 8, 3, 1, 1, 0),
                           square(2, 8, 8, 3, 16, 3, 2, 1), square(1, 3, 5, 32, 2, 3, 1, 1)};
  for (const ConvShape& s : all)
    for (const Activation activation : activations)
      for (const bool with_bias : {false, true})
        for (const int with_residual : {0, 1, 2}) {  // 2: the residual is y itself
          CAPTURE(static_cast<int>(activation));
          CAPTURE(with_bias);
          CAPTURE(with_residual);
          for_each_target([&](const Target& target) {
            compare(
                target,
                [&](Arena& m) {
                  ConvForward op{.shape = s,
                                 .type = m.type(),
                                 .x = m.input("x", count_x(s)),
                                 .weight = m.input("weight", count_weight(s)),
                                 .bias = with_bias ? m.param_input("bias", s.c_out) : nullptr,
                                 .activation = activation,
                                 .slope = 0.2F};
                  if (with_residual == 1) op.residual = m.input("residual", count_y(s), -2, 2);
                  op.y = with_residual == 2 ? m.in_out("y", count_y(s), -2, 2)
                                            : m.output("y", count_y(s));
                  if (with_residual == 2) op.residual = op.y;
                  return op;
                },
                sum_of(9 * s.c_in));
          });
        }
}

TEST_CASE("conv tells two slopes apart") {
  const ConvShape s = square(1, 4, 4, 2, 4, 3, 1, 1);
  std::vector<double> least;
  for (const float slope : {0.1F, 0.5F, 0.1F}) {
    Arena m(cpu_stream, DType::f32, DType::f32);
    run_in(m, [&](Arena& arena) {
      ConvForward op = forward(arena, s);
      op.activation = Activation::leaky_relu;
      op.slope = slope;
      return op;
    });
    double smallest = 0;
    for (const double y : m.values("y")) smallest = std::min(smallest, y);
    least.push_back(smallest);
  }
  CHECK(least[1] == doctest::Approx(5 * least[0]).epsilon(1e-6));
  CHECK(least[2] == least[0]);
}

TEST_CASE("conv gradients are adjoints of the convolution") {
  for (const ConvShape& s : shapes()) {
    for (const Stream& stream : streams()) {
      const bool is_exact = stream.kind == DeviceKind::reference;
      const DType type = is_exact ? DType::f64 : DType::f32;
      Arena a(stream, type, DType::f32), b(stream, type, DType::f32), c(stream, type, DType::f32);
      run_in(a, [&](Arena& m) { return forward(m, s); });
      run_in(b, [&](Arena& m) { return input_gradient(m, s); });
      run_in(c, [&](Arena& m) { return weight_gradient(m, s); });
      const std::vector<double> dy = b.values("dy"), y = a.values("y");
      const double product = dot(y, dy);
      // The products' errors are those of their elements, compared to what is summed.
      const double bound = (is_exact ? 1e-13 : 1e-5) * std::sqrt(dot(y, y) * dot(dy, dy));
      CHECK(std::abs(dot(a.values("x"), b.values("dx")) - product) <= bound);
      CHECK(std::abs(dot(a.values("weight"), c.values("dweight")) - product) <= bound);
    }
  }
}

TEST_CASE("conv keeps the number of threads of its first call") {
  const ConvShape s = square(4, 16, 16, 32, 32, 3, 1, 1);
  for_each_target([&](const Target& target) {
    compare_thread_counts(target, [&](Arena& m) { return forward(m, s); });
    compare_thread_counts(target, [&](Arena& m) { return input_gradient(m, s); });
    compare_thread_counts(target, [&](Arena& m) { return weight_gradient(m, s); });
    // Plans made under another setting too: stride_d tells the plans apart and does nothing else
    // here. This large, a weight gradient that is made for other threads sums in another order.
    int stride_d = 0;
    compare_thread_counts(target, [&](Arena& m) {
      ConvShape large = square(4, 64, 64, 32, 32, 3, 1, 1);
      if (target.is_simt()) large.h = large.w = 13;
      large.stride_d = ++stride_d;
      return weight_gradient(m, large);
    });
  });
}

TEST_CASE("conv runs from several threads of a program at once") {
  const ConvShape s = square(1, 12, 12, 16, 16, 3, 1, 1);
  Arena expected(cpu_stream, DType::f32, DType::f32);
  run_in(expected, [&](Arena& m) { return forward(m, s); });
  std::vector<int> right(4, 0);
  std::vector<std::thread> threads;
  for (int& same : right)
    threads.emplace_back([&] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        Arena m(cpu_stream, DType::f32, DType::f32);
        run_in(m, [&](Arena& arena) { return forward(arena, s); });
        same += m.values("y") == expected.values("y");
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(right == std::vector<int>(4, 20));
}

TEST_CASE("conv workspaces depend on sizes alone") {
  float there = 0;
  for (const ConvShape& s : shapes())
    for_each_target([&](const Target& target) {
      const ConvForward bare{.shape = s, .type = target.type};
      ConvForward full = bare;
      full.bias = full.residual = full.x = &there;
      CHECK(workspace_bytes(target.stream, bare) == workspace_bytes(target.stream, full));
      const ConvWeightGradient without{.shape = s, .type = target.type};
      ConvWeightGradient with = without;
      with.dbias = &there;
      CHECK(workspace_bytes(target.stream, without) == workspace_bytes(target.stream, with));
    });
}

TEST_CASE("conv of network sizes never falls to oneDNN's plain loops") {
  std::vector<ConvShape> all;
  for (const int c_in : {1, 2, 3, 4, 5}) all.push_back(square(4, 128, 128, c_in, 16, 3, 1, 1));
  for (const int c_out : {1, 2, 3, 4}) {
    all.push_back(square(4, 128, 128, 16, c_out, 1, 1, 0));
    all.push_back(square(4, 128, 128, 64, c_out, 3, 1, 1));
  }
  for (int level = 0, channels = 16; channels <= 512; ++level, channels *= 2) {
    const int size = 256 >> level;
    all.push_back(square(4, size, size, channels, channels, 3, 1, 1));
    all.push_back(square(4, size, size, channels, channels, 3, 2, 1));
    all.push_back(square(1, size, size, channels, 2 * channels, 3, 1, 1));
    all.push_back(square(1, size, size, 3 * channels, channels, 3, 1, 1));
    all.push_back(square(4, size, size, 2 * channels, channels, 1, 1, 0));
    all.push_back(square(4, size, size, channels, channels, 4, 2, 1));
  }
  float there = 0;
  for (const ConvShape& s : all)
    for_each_target([&](const Target& target) {
      if (target.stream.kind != DeviceKind::cpu) return;
      CAPTURE(s.h);
      CAPTURE(s.c_in);
      CAPTURE(s.c_out);
      const auto is_fast = [](const std::string& name) {
        return !name.empty() && !name.starts_with("ref");
      };
      for (const Activation activation : {Activation::none, Activation::silu})
        CHECK(is_fast(implementation(Cpu{}, ConvForward{.shape = s,
                                                        .type = target.type,
                                                        .bias = &there,
                                                        .residual = &there,
                                                        .activation = activation})));
      CHECK(is_fast(implementation(Cpu{}, ConvForward{.shape = s, .type = target.type})));
      CHECK(is_fast(implementation(Cpu{}, ConvInputGradient{.shape = s, .type = target.type})));
      CHECK(is_fast(implementation(
          Cpu{}, ConvWeightGradient{.shape = s, .type = target.type, .dbias = &there})));
    });
}

TEST_CASE("conv weight gradient agrees with the reference with and without tensor cores") {
  for (const int architecture : {75, 80})
    for (const ConvShape& s : tiled_shapes())
      for_each_simt_target(architecture, [&](const Target& target) {
        CAPTURE(s.c_in);
        CAPTURE(s.c_out);
        Tolerance in_float = sum_of(count_y(s) / s.c_out);
        in_float.bf16_relative = 0;
        for (const bool bias : {true, false})
          compare(
              target, [&](Arena& m) { return weight_gradient(m, s, bias); }, in_float);
      });
}

TEST_CASE("conv weight gradient in tf32 rounds its factors to 10 bits of mantissa") {
  for (const ConvShape& s : tiled_shapes())
    for_each_simt_target(80, [&](const Target& target) {
      if (target.type != DType::f32) return;
      CAPTURE(s.c_in);
      CAPTURE(s.c_out);
      const auto allowed = [&](Arena& m) {
        ConvWeightGradient op = weight_gradient(m, s);
        op.allow_tf32 = true;
        return op;
      };
      // A factor is off by up to 2^-11 of itself, a product by 2^-10; in a sum of random products
      // the errors add up as the products do: six times their usual size, as in sum_of.
      Tolerance tolerance = sum_of(count_y(s) / s.c_out);
      tolerance.relative += 6 * 0x1p-10;
      compare(target, allowed, tolerance);
      // Few bits: nothing is rounded.
      compare(target,
              [&](Arena& m) {
                ConvWeightGradient op = allowed(m);
                op.x = m.input("short x", integers("x", count_x(s)));
                op.dy = m.input("short dy", integers("dy", count_y(s)));
                return op;
              },
              {});
    });
}

TEST_CASE("conv refuses types that a device does not compute in") {
  CHECK_THROWS_AS(workspace_bytes(Cpu{}, ConvForward{.shape = {}, .type = DType::f64}), Error);
  if (!has_simt) return;
  CHECK_THROWS_AS(launch({DeviceKind::simt}, ConvForward{.shape = {}, .type = DType::f64}), Error);
}

}  // namespace anaphase::test
