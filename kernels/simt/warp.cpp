// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/warp.hpp"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <utility>

#include "kernels/simt/memory_check.hpp"

namespace anaphase::simt {

void shuffle(const Shuffle& how, void* value, std::size_t bytes) {
  static constexpr const char* names[] = {"__shfl_sync", "__shfl_up_sync", "__shfl_down_sync",
                                          "__shfl_xor_sync"};
  const char* name = names[how.kind];
  if (how.width < 1 || how.width > 32 || !std::has_single_bit(static_cast<unsigned>(how.width)))
    fail("a shuffle's width has to be a power of two up to 32", how.where);
  const Slot* slots = collective(how.mask, value, bytes, name, how.where);
  const int lane = static_cast<int>(self->lane);
  const int first = lane & ~(how.width - 1), end = first + how.width;
  int source = lane;  // a lane that asks for one outside of its group keeps its own value
  switch (how.kind) {
    case Shuffle::to:
      source = first + (how.distance & (how.width - 1));
      break;
    case Shuffle::up:
      if (lane - how.distance >= first) source = lane - how.distance;
      break;
    case Shuffle::down:
      if (lane + how.distance < end) source = lane + how.distance;
      break;
    case Shuffle::exclusive_or:  // groups before its own are within reach
      if ((lane ^ how.distance) < end) source = lane ^ how.distance;
      break;
  }
  if (source < 0 || !(how.mask >> source & 1U)) {
    std::string what = fmt::format("{} reads lane {}, which is not in its mask", name, source);
    fail(std::move(what), how.where);
  }
  std::memcpy(value, slots[source].bytes, bytes);
}

unsigned vote(unsigned mask, bool predicate, const char* name, Location where) {
  const Slot* slots =
      collective(mask, &predicate, sizeof predicate, name, where, [](Slot* all, unsigned lanes) {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < 32; ++lane)
          if (lanes >> lane & 1U) votes |= static_cast<unsigned>(all[lane].bytes[0]) << lane;
        for (unsigned lane = 0; lane < 32; ++lane)
          if (lanes >> lane & 1U) std::memcpy(all[lane].bytes, &votes, sizeof votes);
      });
  unsigned votes;
  std::memcpy(&votes, slots[self->lane].bytes, sizeof votes);
  return votes;
}

unsigned match(unsigned mask, const void* value, std::size_t bytes, const char* name,
               Location where) {
  const Slot* slots = collective(mask, value, bytes, name, where);
  unsigned same = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((mask >> lane & 1U) && std::memcmp(slots[lane].bytes, value, bytes) == 0)
      same |= 1U << lane;
  return same;
}

void fence() {
  pass_fence();
}

}  // namespace anaphase::simt
