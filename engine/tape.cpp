// SPDX-License-Identifier: Apache-2.0
#include "engine/tape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "kernels/elementwise/elementwise.hpp"

namespace anaphase::engine {

void Tape::record(std::vector<Tensor> inputs, const Tensor& output, Backward backward) {
  if (mode_ == Mode::infer) return;
  const bool needed = std::any_of(inputs.begin(), inputs.end(),
                                  [](const Tensor& input) { return input.needs_gradient(); });
  if (!needed) return;
  output.impl_->needs_gradient = true;
  nodes_.push_back({std::move(inputs), output, std::move(backward)});
}

void Tape::backward(const Tensor& root, Tensor seed) {
  if (std::none_of(nodes_.begin(), nodes_.end(),
                   [&](const Node& node) { return node.output.id() == root.id(); }))
    throw std::logic_error("backward from a value that no recorded operation has made");
  if (!seed) {
    seed = allocate_like(root);
    launch("fill", {}, {seed}, [seed] {
      return kernels::Fill{seed.count(), seed.type(), 1.0, seed.data()};
    });
  }
  accumulate(root, seed);
  std::vector<Node> recorded = std::move(nodes_), unreached;
  for (auto node = recorded.rbegin(); node != recorded.rend(); ++node) {
    const auto found = gradients_.extract(node->output.id());
    if (found.empty()) {
      unreached.push_back(std::move(*node));
      continue;
    }
    const std::vector<Tensor> contributions = node->backward(found.mapped().value);
    for (std::size_t i = 0; i < contributions.size(); ++i)
      if (contributions[i] && node->inputs[i].needs_gradient())
        accumulate(node->inputs[i], contributions[i]);
    *node = {};  // its tensors may go
  }
  nodes_.assign(std::make_move_iterator(unreached.rbegin()),
                std::make_move_iterator(unreached.rend()));
}

void Tape::accumulate(const Tensor& tensor, const Tensor& contribution) {
  if (contribution.shape() != tensor.shape() || contribution.type() != tensor.type())
    throw std::logic_error(fmt::format(
        "gradient of {} {} for a value of {} {}", name_of(contribution.type()),
        to_string(contribution.shape()), name_of(tensor.type()), to_string(tensor.shape())));
  const auto add = [&](const Tensor& a, const Tensor& y) {
    launch("gradient_sum", {a, contribution}, {y}, [a, b = contribution, y] {
      return kernels::AddScaled{
          .count = y.count(), .type = y.type(), .a = a.data(), .b = b.data(), .y = y.data()};
    });
  };
  if (const Tensor sum = tensor.gradient()) return add(sum, sum);
  Sum& sum = gradients_[tensor.id()];
  if (!sum.value) {
    sum.value = contribution;
    return;
  }
  const Tensor result = sum.owned ? sum.value : allocate_like(contribution);
  add(sum.value, result);
  sum = {result, true};
}

Tensor Tape::gradient(const Tensor& tensor) const {
  const auto found = gradients_.find(tensor.id());
  return found == gradients_.end() ? Tensor{} : found->second.value;
}

Tensor Tape::converted(const Tensor& parameter, DType type) {
  if (parameter.type() == type) return parameter.detach();
  auto& [original, copy] = converted_[parameter.id()];
  if (!copy) {
    original = parameter;
    copy = allocate_derived(parameter.shape(), type);
    derive("cast", {parameter}, {copy}, [parameter, y = copy] {
      return kernels::Cast{y.count(), parameter.type(), y.type(), parameter.data(), y.data()};
    });
  }
  return copy;
}

}  // namespace anaphase::engine
