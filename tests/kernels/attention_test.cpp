// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

const Stream cpu_stream{DeviceKind::cpu};

/// Fewer tokens than a block of queries, tails behind it, odd head sizes, several heads.
const AttentionShape shapes[] = {
    {.n = 1, .tokens = 1, .heads = 1, .head_dim = 1},
    {.n = 2, .tokens = 3, .heads = 2, .head_dim = 5},
    {.n = 1, .tokens = 64, .heads = 1, .head_dim = 16},
    {.n = 2, .tokens = 65, .heads = 3, .head_dim = 17},
    {.n = 1, .tokens = 127, .heads = 8, .head_dim = 33},
    {.n = 1, .tokens = 256, .heads = 4, .head_dim = 32},
    {.n = 1, .tokens = 193, .heads = 1, .head_dim = 128},
};

std::int64_t count_y(const AttentionShape& s) {
  return std::int64_t{s.n} * s.tokens * s.heads * s.head_dim;
}

std::int64_t count_rows(const AttentionShape& s) {
  return std::int64_t{s.n} * s.tokens * s.heads;
}

AttentionForward forward(Arena& m, const AttentionShape& s, double range) {
  return {.shape = s,
          .type = m.type(),
          .qkv = m.input("qkv", 3 * count_y(s), -range, range),
          .y = m.output("y", count_y(s)),
          .log_sum_exp = m.param_output("log_sum_exp", count_rows(s))};
}

/// y and log_sum_exp are those of the reference for the same (rounded) qkv.
AttentionBackward backward(Arena& m, const AttentionShape& s, double range) {
  const void* input = m.input("qkv", 3 * count_y(s), -range, range);
  const std::vector<double> qkv = m.values("qkv");
  std::vector<double> y(count_y(s)), log_sum_exp(count_rows(s));
  run(Reference{}, AttentionForward{.shape = s,
                                    .type = DType::f64,
                                    .qkv = qkv.data(),
                                    .y = y.data(),
                                    .log_sum_exp = log_sum_exp.data()});
  return {.shape = s,
          .type = m.type(),
          .qkv = input,
          .y = m.input("y", y),
          .log_sum_exp = m.param_input("log_sum_exp", log_sum_exp),
          .dy = m.input("dy", count_y(s)),
          .dqkv = m.output("dqkv", 3 * count_y(s))};
}

/// A score is a float sum of head_dim products: its error, sqrt(head_dim) 2^-24 times the score's
/// size (up to range^2 sqrt(head_dim) here), is a relative error of the exponential. The sums over
/// tokens behind it average such errors out. Six deviations, and a few ulp for exp and division.
Tolerance tolerance(const AttentionShape& s, double range) {
  const double score = std::max(1.0, range * range * std::sqrt(s.head_dim));
  return {.relative = 6 * score * std::sqrt(s.head_dim + s.tokens) * 0x1p-24 + 0x1p-20};
}

}  // namespace

TEST_CASE("attention reference gives hand-worked values") {
  // Two tokens, one head of one channel: q = (1, 0), k = (log 3, 0), v = (4, 8). The first query
  // weighs the tokens 3 : 1, the second 1 : 1.
  const std::vector<double> qkv = {1, std::log(3.0), 4, 0, 0, 8};
  std::vector<double> y(2), log_sum_exp(2);
  run(Reference{}, AttentionForward{.shape = {.tokens = 2},
                                    .type = DType::f64,
                                    .qkv = qkv.data(),
                                    .y = y.data(),
                                    .log_sum_exp = log_sum_exp.data()});
  CHECK(y[0] == doctest::Approx(5).epsilon(1e-14));
  CHECK(y[1] == doctest::Approx(6).epsilon(1e-14));
  CHECK(log_sum_exp[0] == doctest::Approx(std::log(4.0)).epsilon(1e-14));
  CHECK(log_sum_exp[1] == doctest::Approx(std::log(2.0)).epsilon(1e-14));
  // head_dim 4 halves the scores: the same weights from doubled keys.
  std::vector<double> wide = {
      1, 0, 0, 0, 2 * std::log(3.0), 0, 0, 0, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 5};
  y.resize(8);
  run(Reference{}, AttentionForward{.shape = {.tokens = 2, .head_dim = 4},
                                    .type = DType::f64,
                                    .qkv = wide.data(),
                                    .y = y.data(),
                                    .log_sum_exp = log_sum_exp.data()});
  CHECK(y[0] == doctest::Approx(5).epsilon(1e-14));
  CHECK(y[3] == doctest::Approx(2).epsilon(1e-14));
  CHECK(y[4] == doctest::Approx(6).epsilon(1e-14));
}

TEST_CASE("attention reference backward agrees with finite differences") {
  const AttentionShape s{.n = 2, .tokens = 5, .heads = 2, .head_dim = 3};
  const std::vector<double> x = random_values("qkv", 3 * count_y(s), -1, 1);
  const std::vector<double> dy = random_values("dy", count_y(s), -1, 1);
  std::vector<double> y(count_y(s)), log_sum_exp(count_rows(s)), dqkv(x.size());
  const auto loss = [&](const std::vector<double>& qkv) {
    run(Reference{}, AttentionForward{.shape = s,
                                      .type = DType::f64,
                                      .qkv = qkv.data(),
                                      .y = y.data(),
                                      .log_sum_exp = log_sum_exp.data()});
    return dot(dy, y);
  };
  loss(x);
  run(Reference{}, AttentionBackward{.shape = s,
                                     .type = DType::f64,
                                     .qkv = x.data(),
                                     .y = y.data(),
                                     .log_sum_exp = log_sum_exp.data(),
                                     .dy = dy.data(),
                                     .dqkv = dqkv.data()});
  check_gradient(loss, x, dqkv);
}

TEST_CASE("attention agrees with the reference forward and backward") {
  for (const AttentionShape& s : shapes) {
    CAPTURE(s.tokens);
    CAPTURE(s.heads);
    CAPTURE(s.head_dim);
    for_each_target([&](const Target& target) {
      for (const double range : {1.0, 2.0}) {
        compare(
            target, [&](Arena& m) { return forward(m, s, range); }, tolerance(s, range));
        compare(
            target, [&](Arena& m) { return backward(m, s, range); }, tolerance(s, range));
      }
    });
  }
}

TEST_CASE("attention with scores far beyond the range of exp stays finite") {
  // Queries and keys up to 100: scores up to 4e4, of which nearly all probability sits on one
  // token. Scores are float sums of about that size, so exponents are off by a few 2^-24 * 4e4.
  const AttentionShape s{.n = 1, .tokens = 70, .heads = 2, .head_dim = 16};
  Arena reference({DeviceKind::reference}, DType::f64, DType::f32),
      tested(cpu_stream, DType::f32, DType::f32);
  for (Arena* m : {&reference, &tested})
    run_in(*m, [&](Arena& arena) { return forward(arena, s, 100); });
  compare_outputs({cpu_stream, DType::f32}, reference, tested, {.relative = 0x1p-24 * 4e4 * 2});
  for (const double y : tested.values("y")) CHECK(std::abs(y) <= 100);
}

TEST_CASE("attention weights of each query sum to one") {
  // Constant values come out again, whatever the scores.
  const AttentionShape s{.n = 2, .tokens = 100, .heads = 3, .head_dim = 8};
  std::vector<double> qkv = random_values("qkv", 3 * count_y(s), -3, 3);
  const std::int64_t row = std::int64_t{s.heads} * s.head_dim;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(qkv.size()); ++i)
    if (i / row % 3 == 2) qkv[i] = static_cast<double>(i % row);
  for_each_target([&](const Target& target) {
    Arena m(target.stream, target.type, target.type);
    run_in(m, [&](Arena& arena) {
      return AttentionForward{.shape = s,
                              .type = target.type,
                              .qkv = arena.input("qkv", qkv),
                              .y = arena.output("y", count_y(s)),
                              .log_sum_exp = arena.param_output("log_sum_exp", count_rows(s))};
    });
    const std::vector<double> y = m.values("y");
    // Numerator and denominator are float sums of 100 positive terms, each off by up to 100 *
    // 2^-24.
    const double rounding = 200 * 0x1p-24 + (target.type == DType::bf16 ? 0x1p-9 : 0);
    for (std::int64_t i = 0; i < count_y(s); ++i) {
      const auto channel = static_cast<double>(i % row);
      CHECK(std::abs(y[i] - channel) <= rounding * channel);
    }
  });
}

TEST_CASE("attention does not depend on the number of threads") {
  for (const AttentionShape& s : shapes)
    for_each_target([&](const Target& target) {
      compare_thread_counts(target, [&](Arena& m) { return forward(m, s, 1); });
      compare_thread_counts(target, [&](Arena& m) { return backward(m, s, 1); });
    });
}

TEST_CASE("attention holds no square matrix of scores") {
  const auto bytes = [](auto op, int tokens) {
    op.shape = {.n = 1, .tokens = tokens, .heads = 1, .head_dim = 16};
    return workspace_bytes(Cpu{}, op);
  };
  CHECK(bytes(AttentionForward{.shape = {}}, 8192) <=
        2 * bytes(AttentionForward{.shape = {}}, 4096));
  CHECK(bytes(AttentionBackward{.shape = {}}, 8192) <=
        2 * bytes(AttentionBackward{.shape = {}}, 4096));
}

}  // namespace anaphase::test
