// SPDX-License-Identifier: Apache-2.0
#pragma once

// Atomic functions on global and shared memory; each returns the old value.

#include <algorithm>
#include <cstring>

#include "kernels/simt/memory_check.hpp"

namespace anaphase::simt {

template <class T, class Change>
T atomic_update(T* address, Change change) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  T old, wanted;
  std::memcpy(&old, address, sizeof(T));
  do wanted = change(old);
  while (!compare_exchange(address, sizeof(T), &old, &wanted));
  return old;
}

}  // namespace anaphase::simt

// NOLINTBEGIN(readability-identifier-naming): CUDA's names.
template <class T>
T atomicAdd(T* address, T value) {
  return anaphase::simt::atomic_update(address, [=](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicSub(T* address, T value) {
  return anaphase::simt::atomic_update(address, [=](T old) { return static_cast<T>(old - value); });
}
template <class T>
T atomicMax(T* address, T value) {
  return anaphase::simt::atomic_update(address, [=](T old) { return std::max(old, value); });
}
template <class T>
T atomicMin(T* address, T value) {
  return anaphase::simt::atomic_update(address, [=](T old) { return std::min(old, value); });
}
template <class T>
T atomicOr(T* address, T value) {
  return anaphase::simt::atomic_update(address, [=](T old) { return static_cast<T>(old | value); });
}
template <class T>
T atomicAnd(T* address, T value) {
  return anaphase::simt::atomic_update(address, [=](T old) { return static_cast<T>(old & value); });
}
template <class T>
T atomicExch(T* address, T value) {
  return anaphase::simt::atomic_update(address, [=](T) { return value; });
}
template <class T>
T atomicCAS(T* address, T compare, T value) {
  return anaphase::simt::atomic_update(address,
                                       [=](T old) { return old == compare ? value : old; });
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return anaphase::simt::atomic_update(address,
                                       [=](unsigned old) { return old >= limit ? 0U : old + 1; });
}
// NOLINTEND(readability-identifier-naming)
