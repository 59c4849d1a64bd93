// SPDX-License-Identifier: Apache-2.0
#include "engine/gradient_check.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/philox.hpp"

namespace anaphase::engine {
namespace {

std::vector<double> download_double(const Tensor& tensor) {
  std::vector<double> values(tensor.count());
  copy_to_host(tensor.device(), values.data(), tensor.data(), tensor.bytes());
  return values;
}

void upload_double(const Tensor& tensor, const std::vector<double>& values) {
  copy_to_device(tensor.device(), tensor.data(), values.data(), tensor.bytes());
}

}  // namespace

double gradient_error(const Differentiable& function, const std::vector<GradientCheckInput>& inputs,
                      double step) {
  const Device device = Device::reference();
  std::vector<Tensor> tensors;
  for (const GradientCheckInput& input : inputs) {
    tensors.push_back(make_tensor(device, input.shape, DType::f64));
    upload_double(tensors.back(), input.values);
  }

  Eager eager(device);
  Tape tape(eager);
  for (const Tensor& tensor : tensors) tape.watch(tensor);
  const Tensor output = function(tape, tensors);
  const Tensor direction = make_tensor(device, output.shape(), DType::f64);
  std::vector<double> r(output.count());
  kernels::PhiloxStream random(7);
  for (double& value : r) value = 0.5 + static_cast<double>(random.uniform());
  upload_double(direction, r);
  tape.backward(output, direction);

  const auto projected = [&] {
    Eager executor(device);
    Tape plain(executor, Tape::Mode::infer);
    const std::vector<double> y = download_double(function(plain, tensors));
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * r[i];
    return sum;
  };

  double worst = 0;
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    const Tensor gradient = tape.gradient(tensors[k]);
    if (!gradient) return std::numeric_limits<double>::infinity();
    const std::vector<double> analytic = download_double(gradient);
    std::vector<double> values = inputs[k].values;
    double error = 0, scale = 1e-12;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double h = step * std::max(1.0, std::abs(values[i])), kept = values[i];
      values[i] = kept + h;
      upload_double(tensors[k], values);
      const double above = projected();
      values[i] = kept - h;
      upload_double(tensors[k], values);
      const double below = projected();
      values[i] = kept;
      const double numeric = (above - below) / (2 * h);
      const double difference = std::abs(numeric - analytic[i]);
      if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
      error = std::max(error, difference);
      scale = std::max(scale, std::abs(numeric));
    }
    upload_double(tensors[k], values);
    worst = std::max(worst, error / scale);
  }
  return worst;
}

}  // namespace anaphase::engine
