// SPDX-License-Identifier: Apache-2.0
#pragma once

// Barriers, shuffles, votes and matches, with CUDA's names and meanings (CUDA C++ Programming
// Guide, "Synchronization Functions" and "Warp ... Functions").

#include <type_traits>

#include "kernels/simt/executor.hpp"

namespace anaphase::simt {

struct Shuffle {
  enum Kind : unsigned char { to, up, down, exclusive_or } kind;
  unsigned mask;
  int distance;  // or the lane itself, for `to`
  int width;
  Location where;
};
/// Replaces a value of up to 8 bytes by that of the lane it asks for.
void shuffle(const Shuffle& shuffle, void* value, std::size_t bytes);
template <class T>
T shuffle(const Shuffle& how, T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  shuffle(how, &value, sizeof(T));
  return value;
}
/// The lanes of `mask` whose predicate holds.
unsigned vote(unsigned mask, bool predicate, const char* name, Location where);
/// The lanes of `mask` that have the caller's value.
unsigned match(unsigned mask, const void* value, std::size_t bytes, const char* name,
               Location where);
/// __threadfence: tells the checks that the block means to synchronise with others.
void fence();

}  // namespace anaphase::simt

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
  anaphase::simt::warp_barrier(mask, where);
}
inline void __threadfence() {
  anaphase::simt::fence();
}
inline void __threadfence_block() {}
/// The lanes that have not ended: the executor does not model which of them run together.
inline unsigned __activemask() {
  return anaphase::simt::live_lanes();
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              anaphase::simt::Location where = anaphase::simt::Location::current()) {
  using anaphase::simt::Shuffle;
  return anaphase::simt::shuffle<T>({Shuffle::to, mask, lane, width, where}, value);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 anaphase::simt::Location where = anaphase::simt::Location::current()) {
  using anaphase::simt::Shuffle;
  return anaphase::simt::shuffle<T>({Shuffle::up, mask, static_cast<int>(delta), width, where},
                                    value);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   anaphase::simt::Location where = anaphase::simt::Location::current()) {
  using anaphase::simt::Shuffle;
  return anaphase::simt::shuffle<T>({Shuffle::down, mask, static_cast<int>(delta), width, where},
                                    value);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  anaphase::simt::Location where = anaphase::simt::Location::current()) {
  using anaphase::simt::Shuffle;
  return anaphase::simt::shuffle<T>({Shuffle::exclusive_or, mask, lane_mask, width, where}, value);
}

inline unsigned __ballot_sync(
    unsigned mask, int predicate,
    anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::vote(mask, predicate != 0, "__ballot_sync", where);
}
inline int __any_sync(unsigned mask, int predicate,
                      anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::vote(mask, predicate != 0, "__any_sync", where) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::vote(mask, predicate != 0, "__all_sync", where) == mask;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value,
                          anaphase::simt::Location where = anaphase::simt::Location::current()) {
  return anaphase::simt::match(mask, &value, sizeof(T), "__match_any_sync", where);
}
template <class T>
unsigned __match_all_sync(unsigned mask, T value, int* all,
                          anaphase::simt::Location where = anaphase::simt::Location::current()) {
  const unsigned same = anaphase::simt::match(mask, &value, sizeof(T), "__match_all_sync", where);
  *all = same == mask;
  return *all ? mask : 0;
}

// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
