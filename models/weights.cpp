// SPDX-License-Identifier: Apache-2.0
#include "models/weights.hpp"

#include <fmt/format.h>

#include <cstring>
#include <span>

#include "io/failure.hpp"

namespace anaphase::models {
namespace {

using engine::Shape;
using engine::Tensor;

bool is_conv_weight(const Shape& shape) {
  return shape.size() == 4;
}

/// [O, KH, KW, I] -> [O, I, KH, KW]
Shape torch_shape(const Shape& shape) {
  if (!is_conv_weight(shape)) return shape;
  return {shape[0], shape[3], shape[1], shape[2]};
}

/// Calls visit(i, j) for the position of each element in memory and in the file.
template <class Visit>
void for_each_position(const Shape& shape, Visit&& visit) {
  if (!is_conv_weight(shape)) {
    for (std::int64_t i = 0; i < engine::count_of(shape); ++i) visit(i, i);
    return;
  }
  const std::int64_t taps = shape[1] * shape[2], in = shape[3];
  std::int64_t i = 0;
  for (std::int64_t o = 0; o < shape[0]; ++o)
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (std::int64_t c = 0; c < in; ++c) visit(i++, (o * in + c) * taps + tap);
}

io::TensorEntry entry_of(const Shape& shape, const std::vector<float>& values) {
  io::TensorEntry entry{"F32", shape, {}};
  entry.data.resize(values.size() * sizeof(float));
  std::memcpy(entry.data.data(), values.data(), entry.data.size());
  return entry;
}

const io::SafeTensorsFile::Place& find_place(const io::SafeTensorsFile& file,
                                             const std::string& name, const Shape& shape) {
  const auto found = file.places().find(name);
  if (found == file.places().end())
    throw io::Unreadable(fmt::format("{} has no tensor '{}': it was saved for another network",
                                     file.path().string(), name));
  const io::SafeTensorsFile::Place& place = found->second;
  if (place.dtype != "F32" || place.shape != shape)
    throw io::Unreadable(fmt::format(
        "{}: '{}' is {} {}, expected F32 {}: it was saved for another network or preset",
        file.path().string(), name, place.dtype, engine::to_string(place.shape),
        engine::to_string(shape)));
  return place;
}

std::vector<float> values_of(io::SafeTensorsFile& file, const std::string& name,
                             const Shape& shape) {
  std::vector<float> values(engine::count_of(shape));
  file.read(find_place(file, name, shape), std::as_writable_bytes(std::span(values)));
  return values;
}

}  // namespace

void store(io::SafeTensors& file, const std::string& prefix, const engine::ParameterSet& set) {
  for (const auto& entry : set.entries()) {
    const Shape& shape = entry.tensor.shape();
    const std::vector<float> memory = engine::download(entry.tensor);
    std::vector<float> values(memory.size());
    for_each_position(shape, [&](std::int64_t i, std::int64_t j) { values[j] = memory[i]; });
    file.tensors[prefix + entry.name] = entry_of(torch_shape(shape), values);
  }
}

void require_all(const io::SafeTensorsFile& file, const std::string& prefix,
                 const engine::ParameterSet& set) {
  for (const auto& entry : set.entries())
    find_place(file, prefix + entry.name, torch_shape(entry.tensor.shape()));
}

void restore(io::SafeTensorsFile& file, const std::string& prefix, engine::ParameterSet& set) {
  for (const auto& entry : set.entries()) {
    const Shape& shape = entry.tensor.shape();
    const std::vector<float> values = values_of(file, prefix + entry.name, torch_shape(shape));
    std::vector<float> memory(values.size());
    for_each_position(shape, [&](std::int64_t i, std::int64_t j) { memory[i] = values[j]; });
    engine::upload(entry.tensor, memory);
  }
}

void store_flat(io::SafeTensors& file, const std::string& name, const Tensor& tensor) {
  file.tensors[name] = entry_of(tensor.shape(), engine::download(tensor));
}

void restore_flat(io::SafeTensorsFile& file, const std::string& name, const Tensor& tensor) {
  engine::upload(tensor, values_of(file, name, tensor.shape()));
}

}  // namespace anaphase::models
