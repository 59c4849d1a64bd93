// SPDX-License-Identifier: Apache-2.0
#pragma once

// Fibers: stacks that one thread of the operating system switches between.

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

namespace anaphase::simt {

/// What is suspended while another runs: a fiber, or the caller that switched to the first one.
struct Suspended {
  boost::context::detail::fcontext_t context = nullptr;
  const void* stack = nullptr;  // its lowest byte
  std::size_t stack_bytes = 0;
};

/// A stack of its own, below which lies a page that faults.
class Fiber : public Suspended {
 public:
  /// `number` spreads the stacks over the sets of the cache. Without memory, `stack` stays null.
  explicit Fiber(std::size_t number);
  ~Fiber();
  Fiber(const Fiber&) = delete;

  /// Makes the next switch to it call `main`, which never returns.
  void start(void (*main)());
  void (*main)() = nullptr;

 private:
  std::size_t offset_;  // of the first frame below the end of the stack
};

/// Suspends `from`, which is running, and goes on with `to`. Returns when something switches back
/// to `from`: never if it has ended.
void switch_fiber(Suspended& from, Suspended& to, bool from_has_ended = false);

}  // namespace anaphase::simt
