// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/contract.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <sstream>

#include "kernels/common/memory.hpp"
#include "kernels/common/philox.hpp"
#if defined(ANAPHASE_WITH_SIMT)
#include "kernels/simt/executor.hpp"
#endif

namespace anaphase::test {

using kernels::bf16;
using kernels::Stream;

namespace {

constexpr std::size_t guard_bytes = 64;
constexpr unsigned char guard_value = 0xA5;
#if defined(ANAPHASE_SIMT_CHECK)
constexpr bool has_checked_kernels = true;
#else
constexpr bool has_checked_kernels = false;
#endif

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
  const char* devices[] = {"reference", "cpu", "cuda", "simt"};
  return std::string(devices[static_cast<int>(stream.kind)]) + " " + std::string(name_of(type));
}

namespace {

/// Devices that this build and machine can run on.
std::vector<Stream> tested_devices() {
  std::vector<Stream> devices{{kernels::DeviceKind::cpu}};
  if (kernels::has_simt) devices.push_back({kernels::DeviceKind::simt});
  if (kernels::device_count({kernels::DeviceKind::cuda}) > 0)
    devices.push_back({kernels::DeviceKind::cuda});
  return devices;
}

}  // namespace

void for_each_target(const std::function<void(const Target&)>& visit) {
  static const std::vector<Stream> devices = tested_devices();
  for (const Stream& device : devices)
    for (const DType type : {DType::f32, DType::bf16}) {
      if (!kernels::computes_in(device, type)) {
        MESSAGE("bf16 is not tested on the CPU: this processor has no AVX-512");
        continue;
      }
      const Target target{device, type};
      const std::string name = target.name();
      CAPTURE(name);
      visit(target);
    }
}

void for_each_simt_target([[maybe_unused]] int architecture,
                          [[maybe_unused]] const std::function<void(const Target&)>& visit) {
#if defined(ANAPHASE_WITH_SIMT)
  const simt::Limits before = simt::limits();
  simt::set_architecture(architecture);
  CAPTURE(architecture);
  for (const DType type : {DType::f32, DType::bf16}) visit({{kernels::DeviceKind::simt}, type});
  simt::set_architecture(10 * before.major + before.minor);
#endif
}

/// Elements in the memory of a device, with guard bytes behind them: none where the executor checks
/// each access, so that it sees a read of them.
struct Arena::Buffer {
  Stream stream;
  DType type;
  std::int64_t count;
  void* data;

  Buffer(Stream device, DType element, std::int64_t elements)
      : stream(device), type(element), count(elements) {
    data = kernels::allocate_memory(stream, bytes() + guard());
    REQUIRE(data != nullptr);
    const bool integers = type == DType::i32 || type == DType::u64;
    std::vector<unsigned char> start(bytes() + guard(), guard_value);
    // 0xFF: NaN in every floating type
    std::fill_n(start.begin(), bytes(), static_cast<unsigned char>(integers ? 0x80 : 0xFF));
    kernels::copy_to_device(stream, data, start.data(), start.size());
  }
  ~Buffer() { kernels::free_memory(stream, data); }
  Buffer(const Buffer&) = delete;

  std::size_t bytes() const { return count * size_of(type); }
  std::size_t guard() const {
    return has_checked_kernels && stream.kind == kernels::DeviceKind::simt ? 0 : guard_bytes;
  }
  void write(const void* values) const { kernels::copy_to_device(stream, data, values, bytes()); }
  std::vector<unsigned char> read() const {
    std::vector<unsigned char> all(bytes() + guard());
    kernels::copy_to_host(stream, all.data(), data, all.size());
    return all;
  }
  bool guard_is_whole() const {
    const std::vector<unsigned char> all = read();
    return std::all_of(all.begin() + static_cast<std::ptrdiff_t>(bytes()), all.end(),
                       [](unsigned char byte) { return byte == guard_value; });
  }
};

Arena::Arena(Stream stream, DType type, DType rounding)
    : stream_(stream), type_(type), rounding_(rounding) {}
Arena::~Arena() = default;

Arena::Buffer& Arena::add(const std::string& name, DType type, std::int64_t count, bool is_output) {
  auto [it, inserted] = buffers_.emplace(name, std::make_unique<Buffer>(stream_, type, count));
  REQUIRE_MESSAGE(inserted, "two buffers named " << name);
  if (is_output) outputs_.push_back(name);
  return *it->second;
}

void Arena::fill(Buffer& buffer, const std::vector<double>& values, DType rounding) {
  std::vector<unsigned char> bytes(buffer.bytes());
  for (std::int64_t i = 0; i < buffer.count; ++i)
    store(bytes.data(), buffer.type, i, rounded(values[i], rounding));
  buffer.write(bytes.data());
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
  buffer.write(values.data());
  return static_cast<std::int32_t*>(buffer.data);
}

std::uint64_t* Arena::keys(const std::string& name, const std::vector<std::uint64_t>& values) {
  Buffer& buffer = add(name, DType::u64, static_cast<std::int64_t>(values.size()), false);
  buffer.write(values.data());
  return static_cast<std::uint64_t*>(buffer.data);
}

void* Arena::output(const std::string& name, std::int64_t count) {
  return add(name, type_, count, true).data;
}

void* Arena::param_output(const std::string& name, std::int64_t count) {
  return add(name, param(), count, true).data;
}

std::int32_t* Arena::label_output(const std::string& name, std::int64_t count) {
  return static_cast<std::int32_t*>(add(name, DType::i32, count, true).data);
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

std::int32_t* Arena::label_in_out(const std::string& name,
                                  const std::vector<std::int32_t>& values) {
  Buffer& buffer = add(name, DType::i32, static_cast<std::int64_t>(values.size()), true);
  buffer.write(values.data());
  return static_cast<std::int32_t*>(buffer.data);
}

void* Arena::workspace(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  return add("workspace", DType::f32, static_cast<std::int64_t>((bytes + 3) / 4), false).data;
}

std::vector<double> Arena::values(const std::string& name) const {
  const Buffer& buffer = *buffers_.at(name);
  const std::vector<unsigned char> bytes = buffer.read();
  std::vector<double> values(buffer.count);
  for (std::int64_t i = 0; i < buffer.count; ++i) values[i] = load(bytes.data(), buffer.type, i);
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

void shuffle_order([[maybe_unused]] const Target& target) {
#if defined(ANAPHASE_WITH_SIMT)
  if (target.is_simt()) simt::set_order_seed(simt::order_seed() + 1);
#endif
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
    CHECK_MESSAGE((a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0),
                  name << " differs between two runs");
  }
}

}  // namespace anaphase::test
