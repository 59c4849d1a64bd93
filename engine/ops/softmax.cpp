// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax.hpp"

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"

namespace anaphase::engine {

Tensor softmax(Tape& tape, const Tensor& logits, float gain, float offset) {
  const int classes = static_cast<int>(logits.dim(-1));
  const std::int64_t rows = logits.count() / classes;
  const DType type = logits.type();
  const Tensor y = tape.allocate_like(logits);
  tape.launch("softmax_forward", {logits}, {y}, [=] {
    return kernels::SoftmaxForward{rows, classes, type, gain, offset, logits.data(), y.data()};
  });
  tape.record({logits}, y, [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    const Tensor dx = tape.allocate_like(y);
    tape.launch("softmax_backward", {y, dy}, {dx}, [=] {
      return kernels::SoftmaxBackward{rows,   classes,  type,      gain,
                                      offset, y.data(), dy.data(), dx.data()};
    });
    return {dx};
  });
  return y;
}

Tensor argmax(Tape& tape, const Tensor& x, const ArgmaxOptions& options) {
  const int classes = static_cast<int>(x.dim(-1));
  const Tensor labels = tape.allocate(without_channels(x), DType::i32);
  tape.launch("argmax", {x}, {labels}, [=] {
    return kernels::Argmax{.rows = labels.count(),
                           .classes = classes,
                           .type = x.type(),
                           .confidence = options.confidence,
                           .probabilities = options.probabilities,
                           .x = x.data(),
                           .labels = labels.as<std::int32_t>()};
  });
  return labels;
}

Tensor one_hot(Tape& tape, const Tensor& labels, int classes, DType type, float on, float off) {
  Shape shape = labels.shape();
  shape.push_back(classes);
  const Tensor y = tape.allocate(shape, type);
  tape.launch("one_hot", {labels}, {y}, [=] {
    return kernels::OneHot{labels.count(), classes, type, on, off, labels.as<std::int32_t>(),
                           y.data()};
  });
  return y;
}

}  // namespace anaphase::engine
