// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/winograd_cpu.hpp"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <vector>

#include "kernels/common/onednn.hpp"
#include "tests/kernels/contract.hpp"
#include "tests/kernels/conv_sizes.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

ConvShape square(int n, int h, int w, int c_in, int c_out, int pad_h = 1, int pad_w = 1) {
  return {.n = n,
          .h = h,
          .w = w,
          .c_in = c_in,
          .c_out = c_out,
          .kernel_h = 3,
          .kernel_w = 3,
          .pad_h = pad_h,
          .pad_w = pad_w};
}

/// One image smaller than a tile, sides that leave 1, 2 and 3 pixels over, all paddings, more tiles
/// than a group, channels that fill one vector, several, and panels of the product unevenly.
const std::vector<ConvShape>& shapes() {
  static const std::vector<ConvShape> all = {
      square(1, 1, 1, 16, 16),        square(2, 3, 2, 16, 32),        square(1, 4, 4, 32, 16),
      square(3, 9, 6, 48, 80),        square(1, 7, 11, 16, 48, 0, 0), square(2, 5, 6, 32, 32, 2, 2),
      square(1, 10, 3, 16, 16, 2, 0), square(1, 33, 50, 32, 16),      square(2, 66, 65, 16, 16),
      square(1, 8, 8, 144, 208),
  };
  return all;
}

/// Runs an operation of this implementation, whether it pays or not.
template <class Build>
void run_in_arena(Arena& arena, Build&& build) {
  if (arena.stream().kind == DeviceKind::reference) return run_in(arena, build);
  auto op = build(arena);
  op.workspace = arena.workspace(winograd::workspace_bytes(op));
  winograd::run(op);
}

/// Against the double-precision sum. A direct float sum of `terms` products is off by up to
/// 6 sqrt(terms) 2^-24 of the result's usual size. Here a rounding in the products can grow on its
/// way: the coefficients' root sums of squares are up to sqrt(4^2 + 5^2 + 1^2) = 6.5 for inputs,
/// 0.4 for kernels and gradients and 6 for outputs, 15 in one direction and 220 in both, however
/// few the terms; among many terms such errors are random, and four times the direct sum's covers
/// them.
template <class Build>
void compare_to_reference(std::int64_t terms, Build&& build, DType type = DType::f32) {
  const Target target{{DeviceKind::cpu}, type};
  Arena reference({DeviceKind::reference}, DType::f64, type), tested(target.stream, type, type);
  run_in_arena(reference, build);
  run_in_arena(tested, build);
  const double error = (4 * 6 * std::sqrt(static_cast<double>(terms)) + 220) * 0x1p-24;
  compare_outputs(target, reference, tested, {.relative = error + 0x1p-21});
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

ConvWeightGradient weight_gradient(Arena& m, const ConvShape& s) {
  return {.shape = s,
          .type = m.type(),
          .x = m.input("x", count_x(s)),
          .dy = m.input("dy", count_y(s)),
          .dweight = m.param_output("dweight", count_weight(s)),
          .dbias = m.param_output("dbias", s.c_out)};
}

}  // namespace

TEST_CASE("winograd convolution agrees with the reference in all three directions") {
  for (const ConvShape& s : shapes()) {
    CAPTURE(s.h);
    CAPTURE(s.w);
    CAPTURE(s.c_in);
    CAPTURE(s.pad_h);
    compare_to_reference(9 * s.c_in, [&](Arena& m) { return forward(m, s); });
    compare_to_reference(9 * s.c_out, [&](Arena& m) { return input_gradient(m, s); });
    compare_to_reference(count_y(s) / s.c_out, [&](Arena& m) { return weight_gradient(m, s); });
  }
}

TEST_CASE("winograd of bf16 in memory is computed in float") {
  for (const ConvShape& s : shapes()) {
    CAPTURE(s.h);
    CAPTURE(s.c_in);
    compare_to_reference(
        9 * s.c_in, [&](Arena& m) { return forward(m, s); }, DType::bf16);
    compare_to_reference(
        9 * s.c_out, [&](Arena& m) { return input_gradient(m, s); }, DType::bf16);
  }
}

TEST_CASE("winograd adds bias and residual before the activation") {
  const ConvShape s = square(2, 9, 7, 16, 32);
  for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu,
                                      Activation::silu, Activation::gelu})
    for (const int with_residual : {0, 1, 2}) {  // 2: the residual is y itself
      CAPTURE(static_cast<int>(activation));
      CAPTURE(with_residual);
      compare_to_reference(9 * s.c_in, [&](Arena& m) {
        ConvForward op{.shape = s,
                       .type = m.type(),
                       .x = m.input("x", count_x(s)),
                       .weight = m.input("weight", count_weight(s)),
                       .bias = m.param_input("bias", s.c_out),
                       .activation = activation,
                       .slope = 0.2F};
        if (with_residual == 1) op.residual = m.input("residual", count_y(s), -2, 2);
        op.y = with_residual == 2 ? m.in_out("y", count_y(s), -2, 2) : m.output("y", count_y(s));
        if (with_residual == 2) op.residual = op.y;
        return op;
      });
    }
}

TEST_CASE("winograd gives the same bits in any batch and with any number of threads") {
  const Stream cpu{DeviceKind::cpu};
  const ConvShape three = square(3, 21, 34, 32, 48), one = square(1, 21, 34, 32, 48);
  Arena batch(cpu, DType::f32, DType::f32);
  run_in_arena(batch, [&](Arena& m) { return forward(m, three); });
  const std::vector<double> x = batch.values("x"), y = batch.values("y");
  for (int i = 0; i < 3; ++i) {
    Arena single(cpu, DType::f32, DType::f32);
    run_in_arena(single, [&](Arena& m) {
      ConvForward op{.shape = one,
                     .x = m.input("x", std::vector<double>(x.begin() + i * count_x(one),
                                                           x.begin() + (i + 1) * count_x(one))),
                     .weight = m.input("weight", count_weight(one)),
                     .y = m.output("y", count_y(one))};
      return op;
    });
    CHECK(single.values("y") ==
          std::vector<double>(y.begin() + i * count_y(one), y.begin() + (i + 1) * count_y(one)));
  }
  const int threads = omp_get_max_threads();
  const auto with_threads = [&](int count, auto&& build) {
    auto arena = std::make_unique<Arena>(cpu, DType::f32, DType::f32);
    omp_set_num_threads(count);
    run_in_arena(*arena, build);
    omp_set_num_threads(threads);
    return arena;
  };
  const auto same = [&](auto&& build) {
    compare_bits(*with_threads(1, build), *with_threads(3, build));
  };
  same([&](Arena& m) { return forward(m, three); });
  same([&](Arena& m) { return input_gradient(m, three); });
  same([&](Arena& m) { return weight_gradient(m, three); });
}

TEST_CASE("winograd is chosen where it pays, whatever the batch") {
  ConvForward op{.shape = square(1, 64, 64, 64, 64)};
  CHECK(winograd::pays(op));
  CHECK(implementation(Cpu{}, op) == winograd::name);
  for (const int n : {1, 2, 16}) {
    ConvForward wide{.shape = square(n, 64, 64, 64, 64)}, small{.shape = square(n, 8, 8, 64, 64)};
    CHECK(winograd::pays(wide));
    CHECK_FALSE(winograd::pays(small));
  }
  op.type = DType::bf16;
  CHECK(winograd::pays(op));
  CHECK_FALSE(winograd::pays(ConvForward{.shape = square(1, 16, 16, 64, 64), .type = DType::bf16}));
  CHECK(winograd::pays(ConvForward{.shape = square(1, 16, 16, 64, 64)}));
  op.type = DType::f32;
  op.shape.stride_h = 2;
  CHECK_FALSE(winograd::pays(op));
  CHECK_FALSE(winograd::pays(ConvForward{.shape = square(1, 64, 64, 60, 64)}));
}

}  // namespace anaphase::test
