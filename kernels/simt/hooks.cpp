// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "kernels/simt/memory_check.hpp"

// What the machine code of checked kernels calls before it touches memory. GCC's -fsanitize=thread
// puts these calls there; the thread sanitizer itself is not linked.

namespace {

using anaphase::simt::AccessKind;
using anaphase::simt::check_access;
using anaphase::simt::Site;

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the compiler's names.
extern "C" {

#define ANAPHASE_HOOKS(bytes)                                                     \
  void __tsan_read##bytes(void* a) {                                              \
    check_access(a, bytes, AccessKind::read, Site(__builtin_return_address(0)));  \
  }                                                                               \
  void __tsan_write##bytes(void* a) {                                             \
    check_access(a, bytes, AccessKind::write, Site(__builtin_return_address(0))); \
  }                                                                               \
  void __tsan_unaligned_read##bytes(void* a) {                                    \
    check_access(a, bytes, AccessKind::read, Site(__builtin_return_address(0)));  \
  }                                                                               \
  void __tsan_unaligned_write##bytes(void* a) {                                   \
    check_access(a, bytes, AccessKind::write, Site(__builtin_return_address(0))); \
  }
ANAPHASE_HOOKS(1)
ANAPHASE_HOOKS(2)
ANAPHASE_HOOKS(4)
ANAPHASE_HOOKS(8)
ANAPHASE_HOOKS(16)
#undef ANAPHASE_HOOKS

void __tsan_read_range(void* a, unsigned long bytes) {
  check_access(a, bytes, AccessKind::read, Site(__builtin_return_address(0)));
}
void __tsan_write_range(void* a, unsigned long bytes) {
  check_access(a, bytes, AccessKind::write, Site(__builtin_return_address(0)));
}

// Atomics of the host's code in .cu files (std::shared_ptr, guards of static variables). Kernels
// call those of kernels/simt/atomics.hpp.
#define ANAPHASE_HOOKS(bits)                                                                       \
  using Word##bits = std::uint##bits##_t;                                                          \
  Word##bits __tsan_atomic##bits##_load(const volatile Word##bits* a, int) {                       \
    return __atomic_load_n(a, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile Word##bits* a, Word##bits v, int) {                    \
    __atomic_store_n(a, v, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                \
  Word##bits __tsan_atomic##bits##_exchange(volatile Word##bits* a, Word##bits v, int) {           \
    return __atomic_exchange_n(a, v, __ATOMIC_SEQ_CST);                                            \
  }                                                                                                \
  Word##bits __tsan_atomic##bits##_fetch_add(volatile Word##bits* a, Word##bits v, int) {          \
    return __atomic_fetch_add(a, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  Word##bits __tsan_atomic##bits##_fetch_sub(volatile Word##bits* a, Word##bits v, int) {          \
    return __atomic_fetch_sub(a, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile Word##bits* a, Word##bits* expected,  \
                                                    Word##bits v, int, int) {                      \
    return __atomic_compare_exchange_n(a, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }
ANAPHASE_HOOKS(8)
ANAPHASE_HOOKS(16)
ANAPHASE_HOOKS(32)
ANAPHASE_HOOKS(64)
#undef ANAPHASE_HOOKS

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
