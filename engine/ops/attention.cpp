// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.hpp"

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"

namespace anaphase::engine {

Tensor attention(Tape& tape, const Tensor& qkv, int heads) {
  check(heads > 0 && qkv.dim(-1) % (3 * heads) == 0, "attention",
        "qkv has {} channels, expected a multiple of 3 x {} heads", qkv.dim(-1), heads);
  const std::int64_t n = qkv.dim(0), channels = qkv.dim(-1) / 3;
  const std::int64_t tokens = per_sample(qkv) / qkv.dim(-1);
  const kernels::AttentionShape shape{static_cast<int>(n), static_cast<int>(tokens), heads,
                                      static_cast<int>(channels / heads)};
  const DType type = qkv.type();
  const Tensor y = tape.allocate(with_channels(qkv, channels), type);
  const Tensor log_sum_exp = tape.allocate({n, heads, tokens}, kernels::param_type(type));
  tape.launch("attention_forward", {qkv}, {y, log_sum_exp}, [=] {
    return kernels::AttentionForward{.shape = shape,
                                     .type = type,
                                     .qkv = qkv.data(),
                                     .y = y.data(),
                                     .log_sum_exp = log_sum_exp.data()};
  });
  tape.record({qkv}, y, [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    const Tensor dqkv = tape.allocate_like(qkv);
    tape.launch("attention_backward", {qkv, y, log_sum_exp, dy}, {dqkv}, [=] {
      return kernels::AttentionBackward{.shape = shape,
                                        .type = type,
                                        .qkv = qkv.data(),
                                        .y = y.data(),
                                        .log_sum_exp = log_sum_exp.data(),
                                        .dy = dy.data(),
                                        .dqkv = dqkv.data()};
    });
    return {dqkv};
  });
  return y;
}

}  // namespace anaphase::engine
