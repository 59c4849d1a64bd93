// SPDX-License-Identifier: Apache-2.0
#include "io/resize.hpp"

#include <algorithm>
#include <cmath>

namespace anaphase::io {
namespace {

/// The inputs first, first + 1, ... that make up one output, and their weights, which sum to 1.
struct Taps {
  int first = 0;
  std::vector<double> weights;
};

std::vector<Taps> triangle_filter(int in, int out) {
  const double scale = static_cast<double>(in) / out;
  const double radius = std::max(scale, 1.0);
  std::vector<Taps> filter(out);
  for (int i = 0; i < out; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(std::floor(centre - radius)));
    const int last = std::min(in - 1, static_cast<int>(std::ceil(centre + radius)));
    filter[i].first = first;
    double sum = 0;
    for (int j = first; j <= last; ++j) {
      const double weight = std::max(0.0, 1.0 - std::abs(j + 0.5 - centre) / radius);
      filter[i].weights.push_back(weight);
      sum += weight;
    }
    for (double& weight : filter[i].weights) weight /= sum;
  }
  return filter;
}

/// Filters along the middle axis of [outer, in, inner].
std::vector<float> filter_axis(const std::vector<float>& values, std::size_t outer, int in, int out,
                               std::size_t inner) {
  if (in == out) return values;
  const std::vector<Taps> filter = triangle_filter(in, out);
  std::vector<float> result(outer * out * inner);
  for (std::size_t o = 0; o < outer; ++o) {
    for (int i = 0; i < out; ++i) {
      const float* source = &values[(o * in + filter[i].first) * inner];
      for (std::size_t k = 0; k < inner; ++k) {
        double sum = 0;
        for (std::size_t j = 0; j < filter[i].weights.size(); ++j) {
          sum += filter[i].weights[j] * source[j * inner + k];
        }
        result[(o * out + i) * inner + k] = static_cast<float>(sum);
      }
    }
  }
  return result;
}

}  // namespace

Image resize_bilinear(const Image& image, int width, int height) {
  const std::size_t channels = image.channels;
  const std::vector<float> narrowed =
      filter_axis(image.pixels, image.height, image.width, width, channels);
  return {width, height, image.channels,
          filter_axis(narrowed, 1, image.height, height, width * channels)};
}

LabelMap resize_nearest(const LabelMap& labels, int width, int height) {
  // floor((i + 0.5) * in / out) in whole numbers
  const auto source = [](std::int64_t i, std::int64_t in, std::int64_t out) {
    return (2 * i + 1) * in / (2 * out);
  };
  LabelMap result{width, height,
                  std::vector<std::int32_t>(static_cast<std::size_t>(width) * height)};
  for (int y = 0; y < height; ++y) {
    const std::int32_t* row = &labels.labels[source(y, labels.height, height) * labels.width];
    for (int x = 0; x < width; ++x) {
      result.labels[static_cast<std::size_t>(y) * width + x] = row[source(x, labels.width, width)];
    }
  }
  return result;
}

}  // namespace anaphase::io
