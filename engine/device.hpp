// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/common/launch.hpp"

namespace anaphase::engine {

/// Where tensors live and calls run. A device is a small value; copying it copies a name.
class Device {
 public:
  Device() = default;

  /// All cores of the processor, in f32 or bf16.
  static Device cpu() { return Device(kernels::DeviceKind::cpu); }
  /// The double-precision formulas: for gradient checks, not for speed.
  static Device reference() { return Device(kernels::DeviceKind::reference); }
  /// `auto` or `cpu`. Throws Error for a device that this build or machine does not have.
  static Device parse(std::string_view name);

  std::string name() const;
  kernels::Stream stream() const { return stream_; }
  /// The type that stands for "float" here: f64 on the reference device, f32 elsewhere.
  kernels::DType float_type() const;
  /// Throws Error when activations cannot be stored in `type` on this device.
  void require_support(kernels::DType type) const;

  bool operator==(const Device& other) const { return stream_.kind == other.stream_.kind; }

 private:
  explicit Device(kernels::DeviceKind kind) : stream_{kind} {}
  kernels::Stream stream_;
};

/// A block of device memory, 64-byte aligned, freed with its last owner. Throws Error when there is
/// not enough, saying how much was asked.
std::shared_ptr<std::byte> allocate(const Device& device, std::size_t bytes);

void copy_to_device(const Device& device, void* to, const void* from, std::size_t bytes);
void copy_to_host(const Device& device, void* to, const void* from, std::size_t bytes);

/// What `allocate` has handed out since the program started.
struct MemoryUse {
  std::int64_t allocations = 0;
  std::size_t live_bytes = 0;
  std::size_t peak_bytes = 0;
};
MemoryUse memory_use();

}  // namespace anaphase::engine
