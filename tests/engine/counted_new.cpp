// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/counted_new.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

// Every `new` of this program passes here.
namespace {

std::atomic<bool> counting{false}, leaves_out_onednn{false};
std::atomic<int> news{0};

bool is_onednn(void* address) {
  Dl_info info{};
  return dladdr(address, &info) != 0 && std::strstr(info.dli_fname, "dnnl") != nullptr;
}

/// Null where there is no memory.
void* counted(std::size_t bytes, std::size_t alignment, void* caller) {
  if (counting && !(leaves_out_onednn && is_onednn(caller))) ++news;
  const std::size_t blocks = std::max<std::size_t>((bytes + alignment - 1) / alignment, 1);
  return std::aligned_alloc(alignment, blocks * alignment);
}

void* counted_new(std::size_t bytes, std::size_t alignment, void* caller) {
  if (void* memory = counted(bytes, alignment, caller)) return memory;
  throw std::bad_alloc();
}

constexpr std::size_t usual = alignof(std::max_align_t);

}  // namespace

void* operator new(std::size_t bytes) {
  return counted_new(bytes, usual, __builtin_return_address(0));
}
void* operator new[](std::size_t bytes) {
  return counted_new(bytes, usual, __builtin_return_address(0));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted_new(bytes, static_cast<std::size_t>(alignment), __builtin_return_address(0));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return counted_new(bytes, static_cast<std::size_t>(alignment), __builtin_return_address(0));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return counted(bytes, usual, __builtin_return_address(0));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace anaphase::test {

int all_news_in(const std::function<void()>& action) {
  news = 0;
  counting = true;
  action();
  counting = false;
  return news;
}

int news_in(const std::function<void()>& action) {
  leaves_out_onednn = true;
  const int count = all_news_in(action);
  leaves_out_onednn = false;
  return count;
}

}  // namespace anaphase::test
