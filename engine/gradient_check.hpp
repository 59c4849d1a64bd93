// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "engine/tape.hpp"

namespace anaphase::engine {

/// A differentiable function of some tensors.
using Differentiable = std::function<Tensor(Tape& tape, const std::vector<Tensor>& inputs)>;

/// The largest relative error of the tape's gradients, over all inputs: each is compared, element
/// by element, with central differences of <f(inputs), r> for a fixed random r, on the reference
/// device in double precision; errors are relative to the largest gradient of the input. NaN
/// anywhere gives infinity. `inputs` are float tensors' shapes and values; `step` the relative step
/// of the differences.
struct GradientCheckInput {
  Shape shape;
  std::vector<double> values;
};
double gradient_error(const Differentiable& function, const std::vector<GradientCheckInput>& inputs,
                      double step = 1e-5);

}  // namespace anaphase::engine
