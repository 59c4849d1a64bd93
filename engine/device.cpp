// SPDX-License-Identifier: Apache-2.0
#include "engine/device.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>
#include <map>
#include <mutex>

#include "engine/stream.hpp"
#include "kernels/common/error.hpp"
#include "kernels/common/memory.hpp"

namespace anaphase::engine {

using kernels::DeviceKind;

/// A queue of calls of a GPU, and the memory through which values reach it.
struct Device::Queue {
  Queue(DeviceKind kind, int index, std::size_t staging_bytes)
      : stream{kind, index, kernels::gpu_runtime(kind).make_stream(index)},
        staging(stream, staging_bytes / 2) {}
  ~Queue() { kernels::gpu_runtime(stream.kind).free_stream(stream.handle); }
  Queue(const Queue&) = delete;

  kernels::Stream stream;
  Staging staging;
};

namespace {

/// Enough for the inputs of most steps in training, and of programs that get theirs otherwise.
constexpr std::size_t shared_staging_bytes = std::size_t{32} << 20, own_staging_bytes = 1 << 17;
constexpr int least_major = 7, least_minor = 5;  // compute capability

std::atomic<std::int64_t> allocations{0};
std::atomic<std::size_t> live_bytes{0};
std::atomic<std::size_t> peak_bytes{0};

std::string version_name(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

double mebibytes(std::size_t bytes) {
  return static_cast<double>(bytes) / 0x1p20;
}

std::string describe(const kernels::GpuFacts& facts) {
  return fmt::format("{}, compute capability {}.{}, {:.0f} GiB", facts.name, facts.major,
                     facts.minor, static_cast<double>(facts.memory) / 0x1p30);
}

std::string cuda_obstacle_here(int index) {
  const kernels::GpuRuntime& runtime = kernels::gpu_runtime(DeviceKind::cuda);
  return cuda_obstacle(runtime.driver(), index, [&](int i) { return runtime.facts(i); });
}

}  // namespace

std::string cuda_obstacle(const kernels::GpuDriver& driver, int index,
                          const std::function<kernels::GpuFacts(int)>& facts) {
  if (driver.version == 0)
    return "no CUDA device: no NVIDIA driver is installed; install one, or use --device cpu";
  if (driver.is_too_old)
    return fmt::format(
        "no CUDA device: the NVIDIA driver supports CUDA {} and this program needs {}: update the "
        "driver, or use --device cpu",
        version_name(driver.version), version_name(driver.needed));
  if (driver.devices == 0)
    return fmt::format("no CUDA device: {}; use --device cpu",
                       driver.error.empty() ? "the NVIDIA driver finds none" : driver.error);
  if (index >= driver.devices)
    return fmt::format("no CUDA device {}: there {} cuda:0{}", index,
                       driver.devices == 1 ? "is only" : "are",
                       driver.devices == 1 ? "" : fmt::format(" to cuda:{}", driver.devices - 1));
  const kernels::GpuFacts device = facts(index);
  if (std::pair(device.major, device.minor) < std::pair(least_major, least_minor))
    return fmt::format(
        "CUDA device {} ({}) has compute capability {}.{}: {}.{} or newer is needed; use --device "
        "cpu",
        index, device.name, device.major, device.minor, least_major, least_minor);
  return {};
}

std::string why_no_cuda() {
  try {
    return cuda_obstacle_here(0);
  } catch (const Error& error) {
    return error.what();
  }
}

Device::Device(std::shared_ptr<Queue> queue) : stream_(queue->stream), queue_(std::move(queue)) {}

/// The queue that all of the program shares, from its first use until the program ends.
Device Device::gpu(DeviceKind kind, int index) {
  static std::mutex mutex;
  static auto& gpus = *new std::map<std::pair<DeviceKind, int>, Device>;  // outlives all tensors
  const std::lock_guard lock(mutex);
  const auto found = gpus.find({kind, index});
  if (found != gpus.end()) return found->second;
  return gpus
      .emplace(std::pair(kind, index),
               Device(std::make_shared<Queue>(kind, index, shared_staging_bytes)))
      .first->second;
}

Device Device::cuda(int index) {
  if (const std::string obstacle = cuda_obstacle_here(index); !obstacle.empty())
    throw DeviceError(obstacle);
  return gpu(DeviceKind::cuda, index);
}

Device Device::simt() {
  return gpu(DeviceKind::simt, 0);
}

Device Device::with_own_queue() const {
  if (!queue_) return *this;
  Device device(std::make_shared<Queue>(stream_.kind, stream_.index, own_staging_bytes));
  device.allows_tf32_ = allows_tf32_;
  return device;
}

Device Device::with_tf32() const {
  Device device = *this;
  device.allows_tf32_ = true;
  return device;
}

Device Device::parse(std::string_view name) {
  if (name == "auto") return kernels::has_cuda && why_no_cuda().empty() ? cuda() : cpu();
  if (name == "cpu") return cpu();
  if (name == "cuda") return cuda();
  if (name == "simt") return simt();
  constexpr std::string_view prefix = "cuda:";
  if (name.starts_with(prefix)) {
    int index = -1;
    const char* end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, index);
    if (error == std::errc{} && stop == end && index >= 0) return cuda(index);
  }
  throw DeviceError(fmt::format("unknown device '{}': use auto, cpu, cuda, cuda:N or simt", name));
}

std::string Device::name() const {
  switch (stream_.kind) {
    case DeviceKind::reference:
      return "reference";
    case DeviceKind::cpu:
      return "cpu";
    case DeviceKind::cuda:
      return fmt::format("cuda:{}", stream_.index);
    case DeviceKind::simt:
      return "simt";
  }
  return "unknown";
}

kernels::DType Device::float_type() const {
  return stream_.kind == DeviceKind::reference ? kernels::DType::f64 : kernels::DType::f32;
}

void Device::require_support(kernels::DType type) const {
  const bool is_cpu = stream_.kind == DeviceKind::cpu;
  if (is_cpu && type == kernels::DType::bf16 && !kernels::computes_in(stream_, type))
    throw DeviceError("bf16 on the CPU needs a processor with AVX-512: choose precision f32");
}

std::vector<std::pair<std::string, std::string>> describe_devices() {
  std::vector<std::pair<std::string, std::string>> devices{{"cpu", "all cores of the processor"}};
  const std::string none = why_no_cuda();
  const kernels::GpuRuntime* cuda = kernels::find_gpu_runtime(DeviceKind::cuda);
  const int count = cuda ? cuda->driver().devices : 0;
  for (int i = 0; i < count; ++i) {
    const std::string obstacle = cuda_obstacle_here(i);
    devices.emplace_back(fmt::format("cuda:{}", i),
                         obstacle.empty() ? describe(cuda->facts(i)) : obstacle);
  }
  if (count == 0) devices.emplace_back("cuda", none);
  if (const kernels::GpuRuntime* simt = kernels::find_gpu_runtime(DeviceKind::simt)) {
    const kernels::GpuFacts facts = simt->facts(0);
    devices.emplace_back("simt", fmt::format("the CUDA kernels on the processor, as on compute "
                                             "capability {}.{}: for tests",
                                             facts.major, facts.minor));
  }
  return devices;
}

std::shared_ptr<std::byte> allocate(const Device& device, std::size_t bytes) {
  const std::size_t rounded = std::max<std::size_t>((bytes + 63) / 64 * 64, 64);
  const kernels::Stream stream = device.stream();
  auto* memory = static_cast<std::byte*>(kernels::allocate_memory(stream, rounded));
  if (!memory) {
    std::string asked = fmt::format("{:.1f} MiB asked", mebibytes(bytes));
    if (device.is_gpu())
      asked += fmt::format(", {:.1f} MiB free",
                           mebibytes(kernels::gpu_runtime(stream.kind).free_bytes(stream)));
    throw OutOfMemory(fmt::format("out of memory on {}: {}; use a smaller batch or image size",
                                  device.name(), asked));
  }
  ++allocations;
  const std::size_t live = live_bytes += rounded;
  for (std::size_t peak = peak_bytes;
       peak < live && !peak_bytes.compare_exchange_weak(peak, live);) {
  }
  return {memory, [rounded, device](std::byte* p) {  // the device's queue lives as long
            live_bytes -= rounded;
            kernels::free_memory(device.stream(), p);
          }};
}

void clear(const Device& device, void* data, std::size_t bytes) {
  kernels::clear_memory(device.stream(), data, bytes);
}

void copy_to_device(const Device& device, void* to, const void* from, std::size_t bytes) {
  if (device.queue_)
    device.queue_->staging.copy(static_cast<std::byte*>(to), static_cast<const std::byte*>(from),
                                bytes);
  else
    kernels::copy_to_device(device.stream(), to, from, bytes);
}

void copy_to_host(const Device& device, void* to, const void* from, std::size_t bytes) {
  kernels::copy_to_host(device.stream(), to, from, bytes);
}

MemoryUse memory_use() {
  return {allocations, live_bytes, peak_bytes};
}

}  // namespace anaphase::engine
