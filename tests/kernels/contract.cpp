// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/contract.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <sstream>

#include "kernels/common/philox.hpp"

namespace anaphase::test {

using kernels::bf16;
using kernels::Stream;

namespace {

constexpr std::size_t guard_bytes = 64;
constexpr unsigned char guard_value = 0xA5;

double rounded(double value, DType type) {
  if (type == DType::f64) return value;
  const auto single = static_cast<float>(value);
  return type == DType::bf16 ? static_cast<double>(static_cast<float>(bf16(single))) : single;
}

double load(const void* data, DType type, std::int64_t i) {
  switch (type) {
    case DType::f32:
      return static_cast<const float*>(data)[i];
    case DType::bf16:
      return static_cast<float>(static_cast<const bf16*>(data)[i]);
    case DType::f64:
      return static_cast<const double*>(data)[i];
    case DType::i32:
      return static_cast<const std::int32_t*>(data)[i];
    case DType::u64:
      return static_cast<double>(static_cast<const std::uint64_t*>(data)[i]);
  }
  return 0;
}

void store(void* data, DType type, std::int64_t i, double value) {
  switch (type) {
    case DType::f32:
      static_cast<float*>(data)[i] = static_cast<float>(value);
      break;
    case DType::bf16:
      static_cast<bf16*>(data)[i] = bf16(static_cast<float>(value));
      break;
    case DType::f64:
      static_cast<double*>(data)[i] = value;
      break;
    case DType::i32:
      static_cast<std::int32_t*>(data)[i] = static_cast<std::int32_t>(value);
      break;
    case DType::u64:
      static_cast<std::uint64_t*>(data)[i] = static_cast<std::uint64_t>(value);
      break;
  }
}

}  // namespace

std::string Target::name() const {
  const char* devices[] = {"reference", "cpu", "cuda"};
  return std::string(devices[static_cast<int>(stream.kind)]) + " " + std::string(name_of(type));
}

void for_each_target(const std::function<void(const Target&)>& visit) {
  const Stream cpu{kernels::DeviceKind::cpu};
  for (const Target& target : {Target{cpu, DType::f32}, Target{cpu, DType::bf16}}) {
    if (target.type == DType::bf16 && !__builtin_cpu_supports("avx512bw")) {
      MESSAGE("bf16 is not tested: this processor has no AVX-512");
      continue;
    }
    const std::string name = target.name();
    CAPTURE(name);
    visit(target);
  }
}

struct Arena::Buffer {
  DType type;
  std::int64_t count;
  unsigned char* data;  // 64-byte aligned, guard bytes behind the elements

  Buffer(DType element, std::int64_t elements) : type(element), count(elements) {
    const std::size_t bytes = (elements * size_of(type) + guard_bytes + 63) / 64 * 64;
    data = static_cast<unsigned char*>(std::aligned_alloc(64, bytes));
    const bool integers = type == DType::i32 || type == DType::u64;
    std::memset(data, integers ? 0x80 : 0xFF, bytes);  // 0xFF...: NaN in every floating type
    std::memset(data + elements * size_of(type), guard_value, guard_bytes);
  }
  ~Buffer() { std::free(data); }
  Buffer(const Buffer&) = delete;

  bool guard_is_whole() const {
    const unsigned char* guard = data + count * size_of(type);
    for (std::size_t i = 0; i < guard_bytes; ++i)
      if (guard[i] != guard_value) return false;
    return true;
  }
};

Arena::Arena(Stream stream, DType type, DType rounding)
    : stream_(stream), type_(type), rounding_(rounding) {}
Arena::~Arena() = default;

Arena::Buffer& Arena::add(const std::string& name, DType type, std::int64_t count, bool is_output) {
  auto [it, inserted] = buffers_.emplace(name, std::make_unique<Buffer>(type, count));
  REQUIRE_MESSAGE(inserted, "two buffers named " << name);
  if (is_output) outputs_.push_back(name);
  return *it->second;
}

void Arena::fill(Buffer& buffer, const std::vector<double>& values, DType rounding) {
  for (std::int64_t i = 0; i < buffer.count; ++i)
    store(buffer.data, buffer.type, i, rounded(values[i], rounding));
}

std::vector<double> random_values(const std::string& name, std::int64_t count, double low,
                                  double high) {
  std::uint64_t key = 0;
  for (const char c : name) key = kernels::mix_key(key, static_cast<unsigned char>(c));
  kernels::PhiloxStream stream(key);
  std::vector<double> values(count);
  for (double& v : values) v = low + (high - low) * static_cast<double>(stream.uniform());
  return values;
}

void* Arena::input(const std::string& name, std::int64_t count, double low, double high) {
  return input(name, random_values(name, count, low, high));
}

void* Arena::input(const std::string& name, const std::vector<double>& values) {
  Buffer& buffer = add(name, type_, static_cast<std::int64_t>(values.size()), false);
  fill(buffer, values, rounding_);
  return buffer.data;
}

void* Arena::param_input(const std::string& name, std::int64_t count, double low, double high) {
  return param_input(name, random_values(name, count, low, high));
}

void* Arena::param_input(const std::string& name, const std::vector<double>& values) {
  Buffer& buffer = add(name, param(), static_cast<std::int64_t>(values.size()), false);
  fill(buffer, values, kernels::param_type(rounding_));
  return buffer.data;
}

std::int32_t* Arena::labels(const std::string& name, const std::vector<std::int32_t>& values) {
  Buffer& buffer = add(name, DType::i32, static_cast<std::int64_t>(values.size()), false);
  std::memcpy(buffer.data, values.data(), values.size() * sizeof(std::int32_t));
  return reinterpret_cast<std::int32_t*>(buffer.data);
}

std::uint64_t* Arena::keys(const std::string& name, const std::vector<std::uint64_t>& values) {
  Buffer& buffer = add(name, DType::u64, static_cast<std::int64_t>(values.size()), false);
  std::memcpy(buffer.data, values.data(), values.size() * sizeof(std::uint64_t));
  return reinterpret_cast<std::uint64_t*>(buffer.data);
}

void* Arena::output(const std::string& name, std::int64_t count) {
  return add(name, type_, count, true).data;
}

void* Arena::param_output(const std::string& name, std::int64_t count) {
  return add(name, param(), count, true).data;
}

std::int32_t* Arena::label_output(const std::string& name, std::int64_t count) {
  return reinterpret_cast<std::int32_t*>(add(name, DType::i32, count, true).data);
}

void* Arena::in_out(const std::string& name, std::int64_t count, double low, double high) {
  Buffer& buffer = add(name, type_, count, true);
  fill(buffer, random_values(name, count, low, high), rounding_);
  return buffer.data;
}

void* Arena::param_in_out(const std::string& name, const std::vector<double>& values) {
  Buffer& buffer = add(name, param(), static_cast<std::int64_t>(values.size()), true);
  fill(buffer, values, kernels::param_type(rounding_));
  return buffer.data;
}

void* Arena::workspace(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  return add("workspace", DType::f32, static_cast<std::int64_t>((bytes + 3) / 4), false).data;
}

std::vector<double> Arena::values(const std::string& name) const {
  const Buffer& buffer = *buffers_.at(name);
  std::vector<double> values(buffer.count);
  for (std::int64_t i = 0; i < buffer.count; ++i) values[i] = load(buffer.data, buffer.type, i);
  return values;
}

std::vector<std::string> Arena::outputs() const {
  return outputs_;
}

std::vector<std::string> Arena::overruns() const {
  std::vector<std::string> messages;
  for (const auto& [name, buffer] : buffers_)
    if (!buffer->guard_is_whole()) messages.push_back("written past the end of " + name);
  return messages;
}

std::vector<std::string> mismatches(const Target& target, const Arena& reference,
                                    const Arena& tested, Tolerance tolerance) {
  const bool is_bf16 = target.type == DType::bf16;
  const double relative = tolerance.relative + (is_bf16 ? tolerance.bf16_relative : 0);
  std::vector<std::string> messages;
  for (const std::string& name : reference.outputs()) {
    const std::vector<double> expected = reference.values(name), actual = tested.values(name);
    double square = 0;
    for (const double y : expected) square += std::isfinite(y) ? y * y : 0;
    const double scale = std::sqrt(square / static_cast<double>(expected.size()));
    std::size_t wrong = 0;
    std::ostringstream first;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double bound = tolerance.absolute + relative * (std::abs(expected[i]) + scale);
      const bool both_nan = std::isnan(expected[i]) && std::isnan(actual[i]);
      const bool same = expected[i] == actual[i];  // infinities too
      const bool close = std::isfinite(expected[i]) && std::abs(expected[i] - actual[i]) <= bound;
      if (both_nan || same || close) continue;
      if (wrong++ == 0)
        first << target.name() << ": " << name << "[" << i << "] is " << actual[i] << ", expected "
              << expected[i] << " within " << bound;
    }
    if (wrong == 0) continue;
    first << "; " << wrong << " of " << expected.size() << " values are wrong";
    messages.push_back(first.str());
  }
  for (const Arena* arena : {&reference, &tested})
    for (const std::string& message : arena->overruns()) messages.push_back(message);
  return messages;
}

void compare_outputs(const Target& target, const Arena& reference, const Arena& tested,
                     Tolerance tolerance) {
  const std::vector<std::string> messages = mismatches(target, reference, tested, tolerance);
  for (const std::string& message : messages) FAIL_CHECK(message);
  CHECK(messages.empty());
}

void compare_bits(const Arena& first, const Arena& second) {
  for (const std::string& name : first.outputs()) {
    const std::vector<double> a = first.values(name), b = second.values(name);
    CHECK_MESSAGE(std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0,
                  name << " differs between two runs");
  }
}

}  // namespace anaphase::test
