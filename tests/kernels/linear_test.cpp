// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/linear.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

const Stream reference_stream{DeviceKind::reference};
const Stream cpu_stream{DeviceKind::cpu};

struct Size {
  int rows, in, out;
};

/// A single row, time embeddings, attention's projections, odd sizes.
const Size sizes[] = {{1, 1, 1},     {1, 64, 256}, {4, 17, 3},     {16, 64, 33},
                      {7, 128, 512}, {33, 24, 40}, {127, 33, 100}, {1024, 64, 192}};

/// The executor's share of a size: fewer rows where there are many.
Size size_for(const Target& target, Size s) {
  if (target.is_simt()) s.rows = std::min(s.rows, 70);
  return s;
}

/// The error of a float sum of random products: sqrt(terms) 2^-24 of the result's usual size, times
/// six, since many sums are looked at; the activation adds a few ulp.
Tolerance sum_of(std::int64_t terms) {
  return {.relative = 6 * std::sqrt(static_cast<double>(terms)) * 0x1p-24 + 0x1p-21};
}

LinearForward forward(Arena& m, const Size& s) {
  return {.rows = s.rows,
          .in = s.in,
          .out = s.out,
          .type = m.type(),
          .x = m.input("x", s.rows * s.in),
          .weight = m.input("weight", s.out * s.in),
          .y = m.output("y", s.rows * s.out)};
}

LinearInputGradient input_gradient(Arena& m, const Size& s) {
  return {.rows = s.rows,
          .in = s.in,
          .out = s.out,
          .type = m.type(),
          .dy = m.input("dy", s.rows * s.out),
          .weight = m.input("weight", s.out * s.in),
          .dx = m.output("dx", s.rows * s.in)};
}

LinearWeightGradient weight_gradient(Arena& m, const Size& s, bool bias = true) {
  return {.rows = s.rows,
          .in = s.in,
          .out = s.out,
          .type = m.type(),
          .x = m.input("x", s.rows * s.in),
          .dy = m.input("dy", s.rows * s.out),
          .dweight = m.param_output("dweight", s.out * s.in),
          .dbias = bias ? m.param_output("dbias", s.out) : nullptr};
}

}  // namespace

TEST_CASE("linear reference gives hand-worked values") {
  const std::vector<double> x = {1, 2, 3, 4}, weight = {5, 6, 7, 8, 9, 10}, bias = {1, 2, -100},
                            residual = {0, 0, 0, 1, 1, 1}, dy = {1, 0, 2, 0, 1, 0};
  std::vector<double> y(6), dx(4), dweight(6), dbias(3);
  run(Reference{}, LinearForward{.rows = 2,
                                 .in = 2,
                                 .out = 3,
                                 .type = DType::f64,
                                 .x = x.data(),
                                 .weight = weight.data(),
                                 .bias = bias.data(),
                                 .residual = residual.data(),
                                 .activation = Activation::relu,
                                 .y = y.data()});
  CHECK(y == std::vector<double>{18, 25, 0, 41, 56, 0});
  run(Reference{}, LinearInputGradient{.rows = 2,
                                       .in = 2,
                                       .out = 3,
                                       .type = DType::f64,
                                       .dy = dy.data(),
                                       .weight = weight.data(),
                                       .dx = dx.data()});
  CHECK(dx == std::vector<double>{23, 26, 7, 8});
  run(Reference{}, LinearWeightGradient{.rows = 2,
                                        .in = 2,
                                        .out = 3,
                                        .type = DType::f64,
                                        .x = x.data(),
                                        .dy = dy.data(),
                                        .dweight = dweight.data(),
                                        .dbias = dbias.data()});
  CHECK(dweight == std::vector<double>{1, 2, 3, 4, 2, 4});
  CHECK(dbias == std::vector<double>{1, 1, 2});
}

TEST_CASE("linear agrees with the reference in all three directions") {
  for (const Size& size : sizes) {
    CAPTURE(size.rows);
    CAPTURE(size.in);
    CAPTURE(size.out);
    for_each_target([&](const Target& target) {
      const Size s = size_for(target, size);
      compare(
          target, [&](Arena& m) { return forward(m, s); }, sum_of(s.in));
      compare(
          target, [&](Arena& m) { return input_gradient(m, s); }, sum_of(s.out));
      // Weight gradients are float even for bf16 activations.
      Tolerance in_float = sum_of(s.rows);
      in_float.bf16_relative = 0;
      for (const bool bias : {true, false})
        compare(
            target, [&](Arena& m) { return weight_gradient(m, s, bias); }, in_float);
    });
  }
}

TEST_CASE("linear adds bias and residual before the activation") {
  for (const Size& size : {Size{4, 24, 37}, Size{256, 64, 64}})
    for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu,
                                        Activation::silu, Activation::gelu})
      for (const bool with_bias : {false, true})
        for (const int with_residual : {0, 1, 2}) {  // 2: the residual is y itself
          CAPTURE(size.rows);
          CAPTURE(static_cast<int>(activation));
          CAPTURE(with_bias);
          CAPTURE(with_residual);
          for_each_target([&](const Target& target) {
            const Size s = size_for(target, size);
            compare(
                target,
                [&](Arena& m) {
                  const int count = s.rows * s.out;
                  LinearForward op{.rows = s.rows,
                                   .in = s.in,
                                   .out = s.out,
                                   .type = m.type(),
                                   .x = m.input("x", s.rows * s.in),
                                   .weight = m.input("weight", s.out * s.in),
                                   .bias = with_bias ? m.param_input("bias", s.out) : nullptr,
                                   .activation = activation,
                                   .slope = 0.2F};
                  if (with_residual == 1) op.residual = m.input("residual", count, -2, 2);
                  op.y = with_residual == 2 ? m.in_out("y", count, -2, 2) : m.output("y", count);
                  if (with_residual == 2) op.residual = op.y;
                  return op;
                },
                sum_of(s.in));
          });
        }
}

TEST_CASE("linear gives a few rows the same bits alone and among others on a GPU") {
  const int in = 72, out = 40;
  for_each_target([&](const Target& target) {
    if (target.stream.kind == DeviceKind::cpu) return;  // oneDNN: not from 32 rows on
    const auto first_row = [&](int rows, const std::string& name, auto operation) {
      Arena m(target.stream, target.type, target.type);
      run_in(m, [&](Arena& arena) { return operation(arena, {rows, in, out}); });
      std::vector<double> values = m.values(name);
      values.resize(values.size() / rows);
      return values;
    };
    const std::vector<double> y = first_row(1, "y", forward),
                              dx = first_row(1, "dx", input_gradient);
    for (const int rows : {2, 7, 9, 32}) {
      CAPTURE(rows);
      CHECK(first_row(rows, "y", forward) == y);
      CHECK(first_row(rows, "dx", input_gradient) == dx);
    }
  });
}

TEST_CASE("linear in tf32 rounds its factors to 10 bits of mantissa") {
  for_each_simt_target(80, [](const Target& target) {
    if (target.type != DType::f32) return;
    const Size s{70, 40, 72};
    // A factor is off by up to 2^-11 of itself, a product by 2^-10, in random directions.
    const auto in_tf32 = [](std::int64_t terms) {
      Tolerance tolerance = sum_of(terms);
      tolerance.relative += 6 * 0x1p-10;
      return tolerance;
    };
    const auto allowed = [](auto op) {
      op.allow_tf32 = true;
      return op;
    };
    compare(
        target, [&](Arena& m) { return allowed(forward(m, s)); }, in_tf32(s.in));
    compare(
        target, [&](Arena& m) { return allowed(input_gradient(m, s)); }, in_tf32(s.out));
    compare(
        target, [&](Arena& m) { return allowed(weight_gradient(m, s)); }, in_tf32(s.rows));
  });
}

TEST_CASE("linear runs without tensor cores") {
  for_each_simt_target(75, [](const Target& target) {
    for (const Size& s : {Size{7, 24, 40}, Size{70, 40, 72}}) {
      compare(
          target, [&](Arena& m) { return forward(m, s); }, sum_of(s.in));
      compare(
          target, [&](Arena& m) { return input_gradient(m, s); }, sum_of(s.out));
      Tolerance in_float = sum_of(s.rows);
      in_float.bf16_relative = 0;
      compare(
          target, [&](Arena& m) { return weight_gradient(m, s); }, in_float);
    }
  });
}

TEST_CASE("linear gradients are adjoints of the product") {
  for (const Size& s : sizes)
    for (const Stream& stream : {reference_stream, cpu_stream}) {
      const bool cpu = stream.kind == DeviceKind::cpu;
      const DType type = cpu ? DType::f32 : DType::f64;
      Arena a(stream, type, DType::f32), b(stream, type, DType::f32), c(stream, type, DType::f32);
      run_in(a, [&](Arena& m) { return forward(m, s); });
      run_in(b, [&](Arena& m) { return input_gradient(m, s); });
      run_in(c, [&](Arena& m) { return weight_gradient(m, s); });
      const std::vector<double> dy = b.values("dy"), y = a.values("y");
      const double product = dot(y, dy);
      const double bound = (cpu ? 1e-5 : 1e-13) * std::sqrt(dot(y, y) * dot(dy, dy));
      CHECK(std::abs(dot(a.values("x"), b.values("dx")) - product) <= bound);
      CHECK(std::abs(dot(a.values("weight"), c.values("dweight")) - product) <= bound);
    }
}

TEST_CASE("linear does not depend on the number of threads set after its first call") {
  for (const Size& size : sizes)
    for_each_target([&](const Target& target) {
      const Size s = size_for(target, size);
      compare_thread_counts(target, [&](Arena& m) { return forward(m, s); });
      compare_thread_counts(target, [&](Arena& m) { return input_gradient(m, s); });
      compare_thread_counts(target, [&](Arena& m) { return weight_gradient(m, s); });
    });
}

TEST_CASE("linear never falls to oneDNN's plain loops") {
  float there = 0;
  for (const Size& s : sizes)
    for_each_target([&](const Target& target) {
      if (target.stream.kind != DeviceKind::cpu) return;
      const auto is_fast = [](const std::string& name) {
        return !name.empty() && !name.starts_with("ref");
      };
      CHECK(is_fast(implementation(Cpu{}, LinearForward{.rows = s.rows,
                                                        .in = s.in,
                                                        .out = s.out,
                                                        .type = target.type,
                                                        .bias = &there,
                                                        .residual = &there,
                                                        .activation = Activation::silu})));
      CHECK(is_fast(implementation(
          Cpu{},
          LinearInputGradient{.rows = s.rows, .in = s.in, .out = s.out, .type = target.type})));
      CHECK(is_fast(implementation(
          Cpu{},
          LinearWeightGradient{
              .rows = s.rows, .in = s.in, .out = s.out, .type = target.type, .dbias = &there})));
    });
}

}  // namespace anaphase::test
