// SPDX-License-Identifier: Apache-2.0
#include "engine/device.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "kernels/common/error.hpp"

namespace anaphase::engine {
namespace {

std::atomic<std::int64_t> allocations{0};
std::atomic<std::size_t> live_bytes{0};
std::atomic<std::size_t> peak_bytes{0};

}  // namespace

Device Device::parse(std::string_view name) {
  if (name == "auto" || name == "cpu") return cpu();
  if (name.starts_with("cuda"))
    throw Error(
        fmt::format("this build has no CUDA device for --device {}: use --device cpu", name));
  throw Error(fmt::format("unknown device '{}': use auto or cpu", name));
}

std::string Device::name() const {
  switch (stream_.kind) {
    case kernels::DeviceKind::reference:
      return "reference";
    case kernels::DeviceKind::cpu:
      return "cpu";
    case kernels::DeviceKind::cuda:
      return fmt::format("cuda:{}", stream_.index);
  }
  return "unknown";
}

kernels::DType Device::float_type() const {
  return stream_.kind == kernels::DeviceKind::reference ? kernels::DType::f64 : kernels::DType::f32;
}

void Device::require_support(kernels::DType type) const {
  if (type == kernels::DType::bf16 && stream_.kind == kernels::DeviceKind::cpu &&
      !__builtin_cpu_supports("avx512bw"))
    throw Error("bf16 on the CPU needs a processor with AVX-512: use --precision f32");
}

std::shared_ptr<std::byte> allocate(const Device& device, std::size_t bytes) {
  const std::size_t rounded = std::max<std::size_t>((bytes + 63) / 64 * 64, 64);
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(64, rounded));
  if (!memory)
    throw Error(
        fmt::format("out of memory on {}: {:.1f} MiB asked; use a smaller batch or image size",
                    device.name(), static_cast<double>(bytes) / 0x1p20));
  ++allocations;
  const std::size_t live = live_bytes += rounded;
  for (std::size_t peak = peak_bytes;
       peak < live && !peak_bytes.compare_exchange_weak(peak, live);) {
  }
  return {memory, [rounded](std::byte* p) {
            live_bytes -= rounded;
            std::free(p);
          }};
}

void copy_to_device(const Device&, void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

void copy_to_host(const Device&, void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

MemoryUse memory_use() {
  return {allocations, live_bytes, peak_bytes};
}

}  // namespace anaphase::engine
