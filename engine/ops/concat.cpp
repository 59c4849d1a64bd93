// SPDX-License-Identifier: Apache-2.0
#include "kernels/concat/concat.hpp"

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"
#include "engine/ops/split.hpp"

namespace anaphase::engine {

Halves split(Tape& tape, const Tensor& dy, int channels_a, bool wants_a, bool wants_b) {
  const int channels_b = static_cast<int>(dy.dim(-1)) - channels_a;
  const std::int64_t rows = dy.count() / dy.dim(-1);
  const DType type = dy.type();
  const auto part = [&](bool wanted, int channels) {
    return wanted ? tape.allocate(with_channels(dy, channels), type) : Tensor{};
  };
  const Tensor da = part(wants_a, channels_a), db = part(wants_b, channels_b);
  tape.launch("split", {dy}, {da, db}, [=] {
    return kernels::Split{rows, channels_a, channels_b, type, dy.data(), da.data(), db.data()};
  });
  return {da, db};
}

Tensor concat(Tape& tape, const Tensor& a, const Tensor& b) {
  check(without_channels(a) == without_channels(b) && a.type() == b.type(), "concat",
        "a is {} of shape {}, b is {} of shape {}: types and all axes but the last have to agree",
        name_of(a.type()), to_string(a.shape()), name_of(b.type()), to_string(b.shape()));
  const int channels_a = static_cast<int>(a.dim(-1)), channels_b = static_cast<int>(b.dim(-1));
  const std::int64_t rows = a.count() / channels_a;
  const DType type = a.type();
  const Tensor y = tape.allocate(with_channels(a, channels_a + channels_b), type);
  tape.launch("concat", {a, b}, {y}, [=] {
    return kernels::Concat{rows, channels_a, channels_b, type, a.data(), b.data(), y.data()};
  });
  tape.record({a, b}, y, [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    const Halves d = split(tape, dy, channels_a, a.needs_gradient(), b.needs_gradient());
    return {d.a, d.b};
  });
  return y;
}

}  // namespace anaphase::engine
