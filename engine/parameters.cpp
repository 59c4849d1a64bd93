// SPDX-License-Identifier: Apache-2.0
#include "engine/parameters.hpp"

#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

#include "kernels/common/error.hpp"
#include "kernels/common/philox.hpp"

namespace anaphase::engine {
namespace {

constexpr std::int64_t line_elements = 16;  // each tensor starts on a cache line
constexpr std::int64_t whole_lines(std::int64_t count) {
  return (count + line_elements - 1) / line_elements * line_elements;
}

std::vector<float> initial_values(const ParameterSet::Entry& entry, std::uint64_t seed) {
  std::vector<float> values(entry.tensor.count(), static_cast<float>(entry.initial.constant));
  if (entry.initial.bound == 0) return values;
  std::uint64_t key = seed;
  for (const char c : entry.name) key = kernels::mix_key(key, static_cast<unsigned char>(c));
  kernels::PhiloxStream stream(key);
  for (float& value : values)
    value = static_cast<float>(entry.initial.bound) * (2 * stream.uniform() - 1);
  return values;
}

}  // namespace

Initial uniform_by_fan_in(std::int64_t fan_in) {
  return {.bound = 1 / std::sqrt(static_cast<double>(fan_in))};
}

Tensor ParameterSet::add(std::string name, Shape shape, Initial initial, bool trainable) {
  for (const Entry& entry : entries_)
    if (entry.name == name) throw std::logic_error("two parameters named " + name);
  Tensor tensor(std::move(shape), DType::f32, nullptr);
  tensor.impl_->needs_gradient = trainable;
  entries_.push_back({std::move(name), tensor, initial, trainable});
  return tensor;
}

Tensor ParameterSet::declare(std::string name, Shape shape, Initial initial) {
  return add(std::move(name), std::move(shape), initial, true);
}

Tensor ParameterSet::declare_buffer(std::string name, Shape shape, double value) {
  return add(std::move(name), std::move(shape), {.constant = value}, false);
}

void ParameterSet::materialise(const Device& device, std::uint64_t seed) {
  materialise(device);
  for (const Entry& entry : entries_) upload(entry.tensor, initial_values(entry, seed));
}

void ParameterSet::materialise(const Device& device) {
  const DType type = device.float_type();
  const auto is_decayed = [](const Entry& entry) { return entry.tensor.shape().size() >= 2; };

  std::int64_t values = 0, buffers = 0;
  std::vector<std::int64_t> offsets(entries_.size());
  for (const bool decayed : {true, false}) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const Entry& entry = entries_[i];
      if (!entry.trainable || is_decayed(entry) != decayed) continue;
      offsets[i] = values;
      values += whole_lines(entry.tensor.count());
    }
    if (decayed) decayed_count_ = values;
  }
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (!entries_[i].trainable) {
      offsets[i] = buffers;
      buffers += whole_lines(entries_[i].tensor.count());
    }

  values_ = make_tensor(device, {values}, type);
  if (buffers > 0) buffers_ = make_tensor(device, {buffers}, type);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    Tensor::Impl& impl = *entry.tensor.impl_;
    impl.type = type;
    impl.storage = (entry.trainable ? values_ : buffers_).storage();
    impl.offset = offsets[i] * kernels::size_of(type);
  }
}

void ParameterSet::materialise_gradients() {
  if (gradients_) return;
  gradients_ = make_tensor(values_.device(), values_.shape(), values_.type());
  for (const Entry& entry : entries_) {
    Tensor::Impl& impl = *entry.tensor.impl_;
    if (entry.trainable)
      impl.gradient = Tensor(impl.shape, impl.type, gradients_.storage(), impl.offset).impl_;
  }
}

const Tensor& ParameterSet::find(std::string_view name) const {
  for (const Entry& entry : entries_)
    if (entry.name == name) return entry.tensor;
  throw Error(fmt::format("the network has no parameter '{}'", name));
}

void ParameterSet::copy_from(const ParameterSet& other) {
  if (count() != other.count() || static_cast<bool>(buffers_) != static_cast<bool>(other.buffers_))
    throw std::logic_error("parameters copied between different networks");
  upload(values_, download(other.values_));
  if (buffers_) upload(buffers_, download(other.buffers_));
}

}  // namespace anaphase::engine
