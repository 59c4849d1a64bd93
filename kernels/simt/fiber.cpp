// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/fiber.hpp"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace anaphase::simt {

using namespace boost::context::detail;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t page = 4096;
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t size = 256 << 10;  // there are red zones around every variable
#else
constexpr std::size_t size = 64 << 10;
#endif

void begin(transfer_t transfer) {
  const Fiber& self = *static_cast<Fiber*>(static_cast<Switch*>(transfer.data)->to);
  arrive(transfer, nullptr);
  self.main();
}

}  // namespace

Fiber::Fiber(std::size_t number) : offset_(number % 32 * 128) {
  void* memory = mmap(nullptr, page + size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return;
  if (mprotect(memory, page, PROT_NONE) != 0) {
    munmap(memory, page + size);
    return;
  }
  stack = static_cast<unsigned char*>(memory) + page;
  stack_bytes = size;
}

Fiber::~Fiber() {
  if (!stack) return;
  munmap(static_cast<unsigned char*>(const_cast<void*>(stack)) - page, page + size);
}

void Fiber::start(void (*main_of_fiber)()) {
  main = main_of_fiber;
  auto* bottom = static_cast<unsigned char*>(const_cast<void*>(stack));
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(bottom, size);
#endif
  context = make_fcontext(bottom + size - offset_, size - offset_, begin);
}

}  // namespace anaphase::simt
