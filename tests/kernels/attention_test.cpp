// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/attention/ladder.hpp"
#include "kernels/common/gpu_runtime.hpp"
#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

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
/// In bf16, besides the rounding of the result, tensor cores take probabilities and gradients of
/// scores as bf16: each is off by up to 2^-9, 2^-9 / sqrt(3) in the mean, independently of the
/// others, and so is a sum of them relative to its own size.
Tolerance tolerance(const AttentionShape& s, double range) {
  const double score = std::max(1.0, range * range * std::sqrt(s.head_dim));
  return {.relative = 6 * score * std::sqrt(s.head_dim + s.tokens) * 0x1p-24 + 0x1p-20,
          .bf16_relative = 0x1p-8 + 6 / std::sqrt(3.0) * 0x1p-9};
}

/// An operation on one rung of the ladder, on a GPU.
template <class Operation>
struct OnRung {
  Operation op;
  std::string rung;
  void* workspace = nullptr;
};

template <class Device>
constexpr bool has_ladder = std::is_same_v<Device, Cuda> || std::is_same_v<Device, Simt>;

template <class Device, class Operation>
void run(Device device, const OnRung<Operation>& on) {
  Operation op = on.op;
  op.workspace = on.workspace;
  if constexpr (has_ladder<Device>) {
    for (const auto& rung : attention_ladder::rungs<Device, Operation>)
      if (rung.name == on.rung) rung.run(device, op);
  } else {
    run(device, op);
  }
}

template <class Device, class Operation>
std::size_t workspace_bytes(Device device, const OnRung<Operation>& on) {
  return workspace_bytes(device, on.op);
}

/// Compares `operation(arena)` on each rung that takes the shape.
template <class Build>
void compare_rungs(const Target& target, const AttentionShape& s, Tolerance tolerance,
                   Build&& operation) {
  using Operation = decltype(operation(std::declval<Arena&>()));
  on_device<Operation>(target.stream, [&](auto device) {
    using Device = decltype(device);
    if constexpr (has_ladder<Device>) {
      const GpuFacts facts = gpu_runtime(device).facts(device.index);
      for (const auto& rung : attention_ladder::rungs<Device, Operation>) {
        if (!rung.takes(s, target.type, 10 * facts.major + facts.minor)) continue;
        CAPTURE(rung.name);
        compare(
            target,
            [&](Arena& m) {
              return OnRung<Operation>{operation(m), rung.name};
            },
            tolerance);
      }
    }
  });
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

/// The executor takes seconds for these; it has the smaller ones, and its own list of the ladder.
bool is_too_large(const Target& target, const AttentionShape& s) {
  return target.is_simt() && count_rows(s) * s.tokens > 30000;
}

TEST_CASE("attention agrees with the reference forward and backward") {
  for (const AttentionShape& s : shapes) {
    CAPTURE(s.tokens);
    CAPTURE(s.heads);
    CAPTURE(s.head_dim);
    for_each_target([&](const Target& target) {
      if (is_too_large(target, s)) return;
      for (const double range : {1.0, 2.0}) {
        compare(
            target, [&](Arena& m) { return forward(m, s, range); }, tolerance(s, range));
        compare(
            target, [&](Arena& m) { return backward(m, s, range); }, tolerance(s, range));
      }
    });
  }
}

TEST_CASE("each rung of the attention ladder agrees with the reference") {
  // All widths of the templates, filled and not, for all sizes of a vector that head_dim may be a
  // multiple of; tails behind tiles of 16, 32 and 64 rows; a head_dim that one rung alone takes.
  const AttentionShape ladder_shapes[] = {
      {.n = 1, .tokens = 1, .heads = 1, .head_dim = 1},
      {.n = 2, .tokens = 3, .heads = 2, .head_dim = 5},
      {.n = 1, .tokens = 33, .heads = 2, .head_dim = 8},
      {.n = 2, .tokens = 65, .heads = 3, .head_dim = 16},
      {.n = 1, .tokens = 70, .heads = 1, .head_dim = 17},
      {.n = 1, .tokens = 127, .heads = 2, .head_dim = 24},
      {.n = 1, .tokens = 97, .heads = 2, .head_dim = 32},
      {.n = 1, .tokens = 66, .heads = 3, .head_dim = 33},
      {.n = 1, .tokens = 129, .heads = 1, .head_dim = 40},
      {.n = 2, .tokens = 64, .heads = 2, .head_dim = 64},
      {.n = 1, .tokens = 17, .heads = 1, .head_dim = 99},
      {.n = 1, .tokens = 35, .heads = 1, .head_dim = 100},
      {.n = 1, .tokens = 130, .heads = 2, .head_dim = 128},
      {.n = 1, .tokens = 7, .heads = 2, .head_dim = 133},
  };
  for (const AttentionShape& s : ladder_shapes) {
    CAPTURE(s.tokens);
    CAPTURE(s.head_dim);
    for_each_target([&](const Target& target) {
      compare_rungs(target, s, tolerance(s, 2), [&](Arena& m) { return forward(m, s, 2); });
      compare_rungs(target, s, tolerance(s, 2), [&](Arena& m) { return backward(m, s, 2); });
    });
  }
}

TEST_CASE("attention of many tokens, where a warp takes more rows, agrees with the reference") {
  for (const int head_dim : {16, 24, 64}) {
    CAPTURE(head_dim);
    const AttentionShape s{.n = 1, .tokens = 1030, .heads = 1, .head_dim = head_dim};
    for_each_target([&](const Target& target) {
      if (target.is_simt() && target.type == DType::f32) return;  // has no such branch
      compare(
          target, [&](Arena& m) { return forward(m, s, 1); }, tolerance(s, 1));
    });
  }
}

TEST_CASE("attention with scores far beyond the range of exp stays finite") {
  // Queries and keys up to 100: scores up to 4e4, of which nearly all probability sits on one
  // token. Scores are float sums of about that size, so exponents are off by a few 2^-24 * 4e4.
  const AttentionShape s{.n = 1, .tokens = 70, .heads = 2, .head_dim = 16};
  const Tolerance far{.relative = 0x1p-24 * 4e4 * 2};
  for_each_target([&](const Target& target) {
    Arena reference({DeviceKind::reference}, DType::f64, target.type),
        tested(target.stream, target.type, target.type);
    for (Arena* m : {&reference, &tested})
      run_in(*m, [&](Arena& arena) { return forward(arena, s, 100); });
    compare_outputs(target, reference, tested, far);
    for (const double y : tested.values("y")) CHECK(std::abs(y) <= 100);
    // Keys behind the last one must not turn zeros into NaN: exp(0 - log_sum_exp) is infinite here.
    Arena gradients(target.stream, target.type, target.type);
    run_in(gradients, [&](Arena& arena) { return backward(arena, s, 100); });
    for (const double d : gradients.values("dqkv")) CHECK(std::isfinite(d));
  });
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
    // 2^-24. In bf16, rounding may put all weights off by 2^-9 at worst, and the result once more.
    const double rounding = 200 * 0x1p-24 + (target.type == DType::bf16 ? 0x1p-8 : 0);
    for (std::int64_t i = 0; i < count_y(s); ++i) {
      const auto channel = static_cast<double>(i % row);
      CHECK(std::abs(y[i] - channel) <= rounding * channel);
    }
  });
}

TEST_CASE("attention does not depend on the number of threads") {
  for (const AttentionShape& s : shapes)
    for_each_target([&](const Target& target) {
      if (is_too_large(target, s)) return;
      compare_thread_counts(target, [&](Arena& m) { return forward(m, s, 1); });
      compare_thread_counts(target, [&](Arena& m) { return backward(m, s, 1); });
    });
}

TEST_CASE("attention holds no square matrix of scores") {
  for_each_target([](const Target& target) {
    const auto bytes = [&](auto op, int tokens) {
      op.shape = {.n = 1, .tokens = tokens, .heads = 1, .head_dim = 16};
      return workspace_bytes(target.stream, op);
    };
    CHECK(bytes(AttentionForward{.shape = {}}, 8192) <=
          2 * bytes(AttentionForward{.shape = {}}, 4096));
    CHECK(bytes(AttentionBackward{.shape = {}}, 8192) <=
          2 * bytes(AttentionBackward{.shape = {}}, 4096));
  });
}

}  // namespace anaphase::test
