// SPDX-License-Identifier: Apache-2.0
#pragma once

// Fibers: stacks that one thread of the operating system switches between.

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

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

/// What a switch tells the stack that goes on.
struct Switch {
  Suspended *from, *to;
};

/// What every switch ends with, on the stack that goes on.
inline void arrive(const boost::context::detail::transfer_t& transfer,
                   [[maybe_unused]] void* fake_stack) {
  Suspended& from = *static_cast<Switch*>(transfer.data)->from;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, &from.stack, &from.stack_bytes);
#endif
  from.context = transfer.fctx;
}

/// Suspends `from`, which is running, and goes on with `to`. Returns when something switches back
/// to `from`: never if it has ended. (Inline, like its callers: a processor predicts no return of a
/// function that was called before a switch.)
inline void switch_fiber(Suspended& from, Suspended& to,
                         [[maybe_unused]] bool from_has_ended = false) {
  void* fake_stack = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(from_has_ended ? nullptr : &fake_stack, to.stack, to.stack_bytes);
#endif
  Switch data{&from, &to};
  arrive(boost::context::detail::jump_fcontext(to.context, &data), fake_stack);
}

}  // namespace anaphase::simt
