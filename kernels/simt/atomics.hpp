// SPDX-License-Identifier: Apache-2.0
#pragma once

// Atomic functions on global and shared memory; each returns the old value.

#include <algorithm>
#include <type_traits>

#include "kernels/simt/executor.hpp"

namespace anaphase::simt {

/// Puts change(old) in the place of `old`, which may be tried with values that are not there.
template <class T, class Change>
T atomic_update(T* address, Location where, const Change& change) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  T old{}, wanted;
  do wanted = change(old);
  while (!compare_exchange(address, sizeof(T), &old, &wanted, where));
  return old;
}

}  // namespace anaphase::simt

// NOLINTBEGIN(readability-identifier-naming): CUDA's names.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value,
            anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::atomic_update(address, where,
                                       [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicSub(T* address, std::type_identity_t<T> value,
            anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::atomic_update(address, where,
                                       [&](T old) { return static_cast<T>(old - value); });
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value,
            anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::atomic_update(address, where, [&](T old) { return std::max(old, value); });
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value,
            anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::atomic_update(address, where, [&](T old) { return std::min(old, value); });
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value,
           anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::atomic_update(address, where,
                                       [&](T old) { return static_cast<T>(old | value); });
}
template <class T>
T atomicAnd(T* address, std::type_identity_t<T> value,
            anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::atomic_update(address, where,
                                       [&](T old) { return static_cast<T>(old & value); });
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value,
             anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::atomic_update(address, where, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> compare, std::type_identity_t<T> value,
            anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::atomic_update(address, where,
                                       [&](T old) { return old == compare ? value : old; });
}
inline unsigned atomicInc(unsigned* address, unsigned limit,
                          anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::atomic_update(address, where,
                                       [&](unsigned old) { return old >= limit ? 0U : old + 1; });
}
// NOLINTEND(readability-identifier-naming)
