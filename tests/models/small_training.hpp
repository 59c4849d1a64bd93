// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "models/training/steps.hpp"
#include "tests/models/small_model.hpp"

namespace anaphase::test {

/// An optimiser for each network of the model.
models::Optimizers optimizers_for(models::Model& model);

/// Makes step `number`, on images of its own.
void replay(models::TrainingStep& step, const models::Optimizers& optimizers, int number,
            double learning_rate);

/// The first value of a metric of the last step; NaN where it has none of that name.
double metric(const models::TrainingStep& step, const std::string& name);

}  // namespace anaphase::test
