// SPDX-License-Identifier: Apache-2.0
#pragma once

// oneDNN behind one page: an operation becomes a plan (a few primitives and the places of their
// arguments), made once for each combination of sizes, type and fused parts and then replayed on
// the caller's memory. This file and its .cpp alone know oneDNN 2.x from 3.x.
//
// Number of threads: primitives split their work, and size their scratch memory, for the number of
// threads that OpenMP has when this process first makes one. They keep that number, so later
// calls of omp_set_num_threads change neither results nor workspaces. The same call on the same
// number of threads gives the same bits. Plans are not to be run inside a parallel region.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "kernels/common/parallel.hpp"

namespace anaphase::kernels::onednn {

using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;

/// Threads of every plan: what OpenMP had at the first call.
int threads();
const dnnl::engine& engine();

/// Splits items 0..count-1 over the threads in contiguous runs: body(slot, first, last), with
/// slots from 0 to threads() - 1. For loops of our own whose scratch memory is one piece a thread.
template <class Body>
void for_each_slot(std::int64_t count, Body&& body) {
  const std::int64_t slots = threads();
  parallel_for(slots, count * chunk_size, [&](std::int64_t slot) {
    body(slot, slot * count / slots, (slot + 1) * count / slots);
  });
}
dnnl::memory::data_type data_type(DType type);

/// Attributes of every primitive: scratch memory comes from the caller; then, fused in this order,
/// the sum with what the output holds (`residual`) and the activation.
dnnl::primitive_attr attributes(bool residual = false, Activation activation = Activation::none,
                                float slope = 0);

/// Throws Error in place of the dnnl::error being handled.
[[noreturn]] void throw_unsupported();

/// Descriptor of a forward primitive. The arguments are those that oneDNN 2.x gives to the
/// operation descriptor and 3.x to the primitive descriptor; an empty Desc as bias means none.
template <class Primitive, class... Arguments>
auto describe(const dnnl::primitive_attr& attr, const Arguments&... arguments) try {
#if DNNL_VERSION_MAJOR >= 3
  return typename Primitive::primitive_desc(engine(), arguments..., attr);
#else
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), attr, engine());
#endif
} catch (const dnnl::error&) {
  throw_unsupported();
}

/// Descriptor of a backward primitive, which wants that of its forward primitive.
template <class Primitive, class Forward, class... Arguments>
auto describe_backward(const Forward& forward, const Arguments&... arguments) try {
#if DNNL_VERSION_MAJOR >= 3
  return typename Primitive::primitive_desc(engine(), arguments..., forward, attributes());
#else
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), attributes(),
                                            engine(), forward);
#endif
} catch (const dnnl::error&) {
  throw_unsupported();
}

/// Byte `offset` of one of the buffers that `run` is given; buffer 0 is the workspace.
struct Place {
  int buffer = 0;
  std::size_t offset = 0;
};

struct Argument {
  int name;  // DNNL_ARG_...
  Desc desc;
  Place place;
};

struct Step {
  dnnl::primitive_desc_base descriptor;
  std::vector<Argument> arguments;
};

/// Primitives to run one after the other. Making a plan describes them only; code is generated when
/// it first runs.
class Plan {
 public:
  /// Appends the operation itself; its scratch memory is taken from the workspace.
  void add(const dnnl::primitive_desc_base& descriptor, std::vector<Argument> arguments);
  /// The tensor at `place` in layout `to`: itself, or a copy that a reorder makes in the workspace.
  Place reordered(const Desc& from, Place place, const Desc& to);
  /// Appends the reorder of `from` to `to`.
  void reorder(const Desc& from, Place source, const Desc& to, Place target);
  /// Room in the workspace.
  Place reserve(const Desc& desc);

  const std::vector<Step>& steps() const { return steps_; }
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  /// oneDNN's name of the operation's implementation; "ref..." is a plain loop.
  const std::string& implementation() const { return implementation_; }

 private:
  void append(const dnnl::primitive_desc_base& descriptor, std::vector<Argument> arguments);

  std::vector<Step> steps_;
  std::size_t workspace_bytes_ = 0;
  std::string implementation_;
};

enum class Operation : std::uint8_t {
  conv_forward,
  conv_input_gradient,
  conv_weight_gradient,
  linear_forward,
  linear_input_gradient,
  linear_weight_gradient,
};

/// All that a plan depends on: the operation, its sizes, type and fused parts.
struct Key {
  std::array<std::int64_t, 24> fields{};

  Key(Operation operation, DType type, std::initializer_list<std::int64_t> sizes);
  /// What follows the sum: bias and residual are there or not.
  Key& fused(bool bias, bool residual, Activation activation, float slope);
  bool operator==(const Key&) const = default;

 private:
  std::size_t used_ = 0;
};

/// The plan for `key`, made by `make` unless this process has it.
const Plan& find_plan(const Key& key, const std::function<Plan()>& make);

/// Runs the plan for `key` on `buffers`, the first of which is the workspace.
void run_plan(const Key& key, const std::function<Plan()>& make,
              std::initializer_list<const void*> buffers);

// An operation `Op` brings two functions, found by argument-dependent lookup: its key, and how its
// plan is made.
//   Key key_of(const Op&);
//   Plan make_plan(const Op&);

template <class Op>
const Plan& plan_of(const Op& op) {
  return find_plan(key_of(op), [&] { return make_plan(op); });
}

template <class Op>
void run_on(const Op& op, std::initializer_list<const void*> buffers) {
  run_plan(
      key_of(op), [&] { return make_plan(op); }, buffers);
}

/// A workspace that is enough for the operation with and without its optional tensors, so that it
/// depends on sizes alone.
template <class Op>
std::size_t most_workspace_bytes(Op op) {
  std::size_t most = 0;
  for (const bool first : {false, true})
    for (const bool second : {false, true}) {
      if constexpr (requires { op.residual; }) {
        op.bias = first ? &op : nullptr;
        op.residual = second ? &op : nullptr;
      } else if constexpr (requires { op.dbias; }) {
        op.dbias = first ? &op : nullptr;
      }
      most = std::max(most, plan_of(op).workspace_bytes());
    }
  return most;
}

/// target = source, by all threads; nothing where they are the same.
void copy(void* target, const void* source, std::size_t bytes);

}  // namespace anaphase::kernels::onednn
