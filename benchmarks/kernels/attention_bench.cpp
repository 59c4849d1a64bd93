// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.hpp"

#include <fmt/format.h>

#include "benchmarks/kernels/bench.hpp"

namespace anaphase::bench {
namespace {

using namespace kernels;

void add_shape(const AttentionShape& shape, DType type) {
  const auto name = [&](const char* direction) {
    return fmt::format("attention_{}/{}/n{}/{}tokens/{}x{}", direction, name_of(type), shape.n,
                       shape.tokens, shape.heads, shape.head_dim);
  };
  const std::int64_t rows = std::int64_t{1} * shape.n * shape.tokens * shape.heads;
  const std::int64_t count = rows * shape.head_dim;
  add(name("forward"), [=](benchmark::State& state) {
    const Buffer qkv(type, 3 * count), y(type, count), log_sum_exp(DType::f32, rows);
    const AttentionForward op{.shape = shape,
                              .type = type,
                              .qkv = qkv.get(),
                              .y = y.get(),
                              .log_sum_exp = log_sum_exp.get()};
    measure(state, op, 0, flop_count(op));
  });
  add(name("backward"), [=](benchmark::State& state) {
    // Scores of equal queries and keys are equal: a row's log of the sum of exp(scores) is large
    // enough here to keep the recomputed probabilities below one.
    const Buffer qkv(type, 3 * count), y(type, count), log_sum_exp(DType::f32, rows, 10.0F),
        dy(type, count), dqkv(type, 3 * count);
    const AttentionBackward op{.shape = shape,
                               .type = type,
                               .qkv = qkv.get(),
                               .y = y.get(),
                               .log_sum_exp = log_sum_exp.get(),
                               .dy = dy.get(),
                               .dqkv = dqkv.get()};
    measure(state, op, 0, flop_count(op));
  });
}

}  // namespace

void add_attention() {
  for (const DType type : types()) {
    add_shape({.n = 4, .tokens = 256, .heads = 2, .head_dim = 64}, type);   // tiny, 128 px
    add_shape({.n = 4, .tokens = 1024, .heads = 2, .head_dim = 64}, type);  // tiny, 256 px
  }
}

}  // namespace anaphase::bench
