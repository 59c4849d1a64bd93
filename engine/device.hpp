// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/common/gpu_runtime.hpp"

namespace anaphase::engine {

/// Where tensors live and calls run. A device is a small value; copying it copies a name. What
/// parse, cuda and simt return for a GPU are names of one queue of calls, for one thread at a time.
class Device {
 public:
  Device() = default;

  /// All cores of the processor, in f32 or bf16.
  static Device cpu() { return Device(kernels::DeviceKind::cpu); }
  /// The double-precision formulas: for gradient checks, not for speed.
  static Device reference() { return Device(kernels::DeviceKind::reference); }
  /// An NVIDIA GPU, in f32 or bf16. Throws Error where this build or machine does not have it.
  static Device cuda(int index = 0);
  /// The CUDA kernels on the processor: for tests, not for speed. Throws Error where this build has
  /// them not.
  static Device simt();
  /// `auto` (cuda where there is one, else cpu), `cpu`, `cuda`, `cuda:N` or `simt`. Throws Error
  /// for a device that this build or machine does not have.
  static Device parse(std::string_view name);

  /// The same GPU with another queue of calls, which lives as long as this device, its copies and
  /// the tensors made on them: for work beside that of other threads. A processor stays as it is,
  /// since calls on it have ended when they return.
  Device with_own_queue() const;

  /// The same device, where programs that are made on it may round the factors of convolutions and
  /// linear layers from f32 to tf32 (10 bits of mantissa), which a GPU's tensor cores multiply
  /// several times faster; sums stay f32. A processor takes no notice.
  Device with_tf32() const;
  bool allows_tf32() const { return allows_tf32_; }

  std::string name() const;
  kernels::Stream stream() const { return stream_; }
  bool is_gpu() const { return kernels::is_gpu(stream_.kind); }
  /// The type that stands for "float" here: f64 on the reference device, f32 elsewhere.
  kernels::DType float_type() const;
  /// Throws Error when activations cannot be stored in `type` on this device.
  void require_support(kernels::DType type) const;

  /// Whether they have the same memory.
  bool operator==(const Device& other) const {
    return stream_.kind == other.stream_.kind && stream_.index == other.stream_.index;
  }

 private:
  struct Queue;
  friend void copy_to_device(const Device& device, void* to, const void* from, std::size_t bytes);
  explicit Device(kernels::DeviceKind kind) : stream_{kind} {}
  explicit Device(std::shared_ptr<Queue> queue);
  static Device gpu(kernels::DeviceKind kind, int index);

  kernels::Stream stream_;
  std::shared_ptr<Queue> queue_;  // of a GPU
  bool allows_tf32_ = false;
};

/// What `--device` can name, and what it stands for here or why it cannot be used.
std::vector<std::pair<std::string, std::string>> describe_devices();

/// Why no CUDA device can be used, as a sentence; empty where one can.
std::string why_no_cuda();
/// Why CUDA device `index` cannot be used, given the driver's answer; empty where it can.
/// `facts(index)` is asked for where there is such a device.
std::string cuda_obstacle(const kernels::GpuDriver& driver, int index,
                          const std::function<kernels::GpuFacts(int)>& facts);

/// A block of device memory, 64-byte aligned, freed with its last owner. Throws Error when there is
/// not enough, saying how much was asked.
std::shared_ptr<std::byte> allocate(const Device& device, std::size_t bytes);

/// In the order of the device's calls.
void clear(const Device& device, void* data, std::size_t bytes);
/// In the order of the device's calls; `from` may change when it returns.
void copy_to_device(const Device& device, void* to, const void* from, std::size_t bytes);
/// Waits for all calls made before.
void copy_to_host(const Device& device, void* to, const void* from, std::size_t bytes);

/// What `allocate` has handed out since the program started.
struct MemoryUse {
  std::int64_t allocations = 0;
  std::size_t live_bytes = 0;
  std::size_t peak_bytes = 0;
};
MemoryUse memory_use();

}  // namespace anaphase::engine
