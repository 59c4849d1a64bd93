// SPDX-License-Identifier: Apache-2.0
#pragma once

// One list of uses of the operations in engine/ops/ops.hpp, which several tests walk: gradients
// against finite differences, devices against each other, programs against eager execution.

#include <string>
#include <vector>

#include "engine/gradient_check.hpp"
#include "engine/ops/ops.hpp"

namespace anaphase::test {

using engine::DType;
using engine::Shape;
using engine::Tensor;

/// How an input is filled; every value is a float.
enum class Values : unsigned char {
  uniform,
  spread,   // distinct and apart by (high - low) / count: no ties, for maxima
  nonzero,  // uniform, but 0.05 or more away from 0, for kinks
  eighths   // multiples of 1/8: exact in bf16
};

struct OpInput {
  Shape shape;
  double low = -1, high = 1;
  Values values = Values::uniform;
};

struct OpCase {
  std::string operation;  // the function's name in ops.hpp, or what is composed of several
  std::string variant;
  std::vector<OpInput> inputs;
  engine::Differentiable function;  // on any device
  bool differentiable = true;
  int roundings = 64;   // about how many float roundings lie behind one result, at worst
  double step = 1e-5;   // of finite differences
  double bound = 1e-7;  // of their relative error
};

/// Operations that have gradients, with each of their options.
const std::vector<OpCase>& differentiable_cases();
/// Operations that have none, and results of the others that carry none.
const std::vector<OpCase>& constant_cases();

std::vector<float> values_of(const OpCase& op, std::size_t input);

/// The tensors of one evaluation: the output, and for a differentiable case the gradients of
/// <output, r>, r fixed, with respect to all inputs.
struct Evaluation {
  Tensor output;
  std::vector<Tensor> gradients;
  std::vector<Tensor> all() const;
};
/// Makes the calls of forward and backward pass on `executor`.
Evaluation evaluate(const OpCase& op, engine::Executor& executor);

/// A tensor of any type, as doubles.
std::vector<double> read(const Tensor& tensor);

}  // namespace anaphase::test
