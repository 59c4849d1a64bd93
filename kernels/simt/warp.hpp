// SPDX-License-Identifier: Apache-2.0
#pragma once

// Barriers, shuffles, votes and matches, with CUDA's names and meanings (CUDA C++ Programming
// Guide, "Synchronization Functions" and "Warp ... Functions").

#include <bit>
#include <cstring>
#include <type_traits>

#include "kernels/simt/executor.hpp"

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): CUDA's names.

inline void __syncthreads(anaphase::simt::Location where = anaphase::simt::Location::current()) {
  anaphase::simt::block_barrier(0, where);
}
inline int __syncthreads_count(
    int predicate, anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::block_barrier(predicate != 0, where);
}
inline int __syncthreads_or(int predicate,
                            anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::block_barrier(predicate != 0, where) != 0;
}
inline int __syncthreads_and(int predicate,
                             anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::block_barrier(predicate == 0, where) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffU,
                       anaphase::simt::Location where = anaphase::simt::Location::current()) {
  anaphase::simt::collective(mask, nullptr, 0, "__syncwarp", where);
}
inline void __threadfence() {}
inline void __threadfence_block() {}
/// The lanes that have not ended: the executor does not model which of them run together.
inline unsigned __activemask() {
  return anaphase::simt::live_lanes();
}

namespace anaphase::simt {

/// The value of lane `source`, which has to take part; the caller's own where it is -1.
template <class T>
T shuffle(unsigned mask, T value, int source, const char* name, Location where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  const Slot* slots = collective(mask, &value, sizeof(T), name, where);
  if (source < 0) return value;
  if (!(mask >> source & 1U))
    fail(std::string(name) + " reads lane " + std::to_string(source) + ", which is not in its mask",
         where);
  T result;
  std::memcpy(&result, slots[source].bytes, sizeof(T));
  return result;
}

}  // namespace anaphase::simt

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              anaphase::simt::Location where = anaphase::simt::Location::current()) {
  const int base = static_cast<int>(anaphase::simt::self->lane) & ~(width - 1);
  return anaphase::simt::shuffle(mask, value, base + (lane & (width - 1)), "__shfl_sync", where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   anaphase::simt::Location where = anaphase::simt::Location::current()) {
  const int lane = static_cast<int>(anaphase::simt::self->lane), end = (lane | (width - 1)) + 1;
  const int source = lane + static_cast<int>(delta);
  return anaphase::simt::shuffle(mask, value, source < end ? source : -1, "__shfl_down_sync",
                                 where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 anaphase::simt::Location where = anaphase::simt::Location::current()) {
  const int lane = static_cast<int>(anaphase::simt::self->lane), begin = lane & ~(width - 1);
  const int source = lane - static_cast<int>(delta);
  return anaphase::simt::shuffle(mask, value, source >= begin ? source : -1, "__shfl_up_sync",
                                 where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  anaphase::simt::Location where = anaphase::simt::Location::current()) {
  const int lane = static_cast<int>(anaphase::simt::self->lane), end = (lane | (width - 1)) + 1;
  const int source = lane ^ lane_mask;
  return anaphase::simt::shuffle(mask, value, source < end ? source : -1, "__shfl_xor_sync", where);
}

inline unsigned __ballot_sync(
    unsigned mask, int predicate,
    anaphase::simt::Location where = anaphase::simt::Location::current()) {
  const int mine = predicate != 0;
  const auto* slots = anaphase::simt::collective(mask, &mine, sizeof mine, "__ballot_sync", where);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    int theirs = 0;
    if (mask >> lane & 1U) std::memcpy(&theirs, slots[lane].bytes, sizeof theirs);
    votes |= static_cast<unsigned>(theirs) << lane;
  }
  return votes;
}
inline int __any_sync(unsigned mask, int predicate,
                      anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return __ballot_sync(mask, predicate, where) == mask;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value,
                          anaphase::simt::Location where = anaphase::simt::Location::current()) {
  const auto* slots =
      anaphase::simt::collective(mask, &value, sizeof value, "__match_any_sync", where);
  unsigned same = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((mask >> lane & 1U) && std::memcmp(slots[lane].bytes, &value, sizeof value) == 0)
      same |= 1U << lane;
  return same;
}
template <class T>
unsigned __match_all_sync(unsigned mask, T value, int* all,
                          anaphase::simt::Location where = anaphase::simt::Location::current()) {
  const unsigned same = __match_any_sync(mask, value, where);
  *all = same == mask;
  return *all ? mask : 0;
}

// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
