// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace anaphase::kernels {
namespace {

/// Calls `on_gpu` with the tag of a GPU, or `on_host()`.
template <class OnGpu, class OnHost>
auto by_device(const Stream& stream, OnGpu&& on_gpu, OnHost&& on_host) {
  if constexpr (has_cuda)
    if (stream.kind == DeviceKind::cuda) return on_gpu(Cuda{stream.index, stream.handle});
  if constexpr (has_simt)
    if (stream.kind == DeviceKind::simt) return on_gpu(Simt{stream.index, stream.handle});
  return on_host();
}

void copy(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

}  // namespace

int device_count(const Stream& stream) {
  const bool is_gpu = stream.kind == DeviceKind::cuda || stream.kind == DeviceKind::simt;
  return by_device(
      stream, [](auto gpu) { return device_count(gpu); }, [&] { return is_gpu ? 0 : 1; });
}

void* allocate_memory(const Stream& stream, std::size_t bytes) {
  const std::size_t rounded = std::max<std::size_t>((bytes + 63) / 64 * 64, 64);
  return by_device(
      stream, [&](auto gpu) { return allocate_memory(gpu, rounded); },
      [&] { return std::aligned_alloc(64, rounded); });
}

void free_memory(const Stream& stream, void* data) {
  by_device(
      stream, [&](auto gpu) { free_memory(gpu, data); }, [&] { std::free(data); });
}

void copy_to_device(const Stream& stream, void* to, const void* from, std::size_t bytes) {
  by_device(
      stream, [&](auto gpu) { copy_to_device(gpu, to, from, bytes); },
      [&] { copy(to, from, bytes); });
}

void copy_to_host(const Stream& stream, void* to, const void* from, std::size_t bytes) {
  by_device(
      stream, [&](auto gpu) { copy_to_host(gpu, to, from, bytes); },
      [&] { copy(to, from, bytes); });
}

void synchronize(const Stream& stream) {
  by_device(
      stream, [](auto gpu) { synchronize(gpu); }, [] {});
}

}  // namespace anaphase::kernels
