// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/onednn.hpp"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "kernels/common/parallel.hpp"

namespace anaphase::kernels::onednn {
namespace {

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t hash = 0;
    for (const std::int64_t field : key.fields)
      hash = std::rotl(hash ^ static_cast<std::uint64_t>(field), 23) * 0x9E3779B97F4A7C15ULL;
    return hash ^ (hash >> 32);
  }
};

/// A plan with its primitives, shared by all threads of the process.
struct Compiled {
  explicit Compiled(Plan made) : plan(std::move(made)) {}

  const std::vector<dnnl::primitive>& primitives() {
    std::call_once(once_, [&] {
      for (const Step& step : plan.steps()) primitives_.emplace_back(step.descriptor.get());
    });
    return primitives_;
  }

  const Plan plan;

 private:
  std::once_flag once_;
  std::vector<dnnl::primitive> primitives_;
};

struct Process {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  int threads = omp_get_max_threads();
  std::shared_mutex mutex;  // guards `plans`; elements stay where they are
  std::unordered_map<Key, std::unique_ptr<Compiled>, KeyHash> plans;
};

Process& process() {
  static Process instance;
  return instance;
}

/// oneDNN reads the calling thread's setting when it describes and when it runs a primitive.
class FixedThreads {
 public:
  FixedThreads() : before_(omp_get_max_threads()) {
    if (before_ != threads()) omp_set_num_threads(threads());
  }
  ~FixedThreads() {
    if (before_ != threads()) omp_set_num_threads(before_);
  }
  FixedThreads(const FixedThreads&) = delete;

 private:
  int before_;
};

Compiled& find_compiled(const Key& key, const std::function<Plan()>& make) {
  Process& shared = process();
  const auto look_up = [&]() -> Compiled* {
    const auto found = shared.plans.find(key);
    return found == shared.plans.end() ? nullptr : found->second.get();
  };
  {
    const std::shared_lock lock(shared.mutex);
    if (Compiled* compiled = look_up()) return *compiled;
  }
  const std::unique_lock lock(shared.mutex);
  if (Compiled* compiled = look_up()) return *compiled;
  return *shared.plans.emplace(key, std::make_unique<Compiled>(make())).first->second;
}

/// A plan on one thread: memory objects are not shared, since each call sets their addresses.
class Bound {
 public:
  explicit Bound(Compiled& compiled) : steps_(compiled.plan.steps()) {
    for (const dnnl::primitive& primitive : compiled.primitives())
      primitives_.push_back(primitive.get());
    for (const Step& step : steps_)
      for (const Argument& argument : step.arguments) {
        memories_.push_back(dnnl::memory(argument.desc, engine(), DNNL_MEMORY_NONE));
        arguments_.push_back({argument.name, memories_.back().get()});
      }
  }

  void run(dnnl_stream_t stream, const void* const* buffers) {
    const dnnl_exec_arg_t* arguments = arguments_.data();
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      const std::size_t count = steps_[s].arguments.size();
      for (std::size_t i = 0; i < count; ++i) {
        const Place place = steps_[s].arguments[i].place;
        const auto* base = static_cast<const std::byte*>(buffers[place.buffer]);
        auto* address = const_cast<std::byte*>(base + place.offset);
        check(dnnl_memory_set_data_handle(arguments[i].memory, address));
      }
      check(dnnl_primitive_execute(primitives_[s], stream, static_cast<int>(count), arguments));
      arguments += count;
    }
    check(dnnl_stream_wait(stream));
  }

 private:
  static void check(dnnl_status_t status) {
    if (status != dnnl_success)
      throw Error("oneDNN could not run an operation: free some memory and run again");
  }

  const std::vector<Step>& steps_;
  std::vector<dnnl_primitive_t> primitives_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

struct ThreadPlans {
  dnnl::stream stream{engine()};
  std::unordered_map<Key, Bound, KeyHash> bound;
};

}  // namespace

int threads() {
  return process().threads;
}

const dnnl::engine& engine() {
  return process().engine;
}

dnnl::memory::data_type data_type(DType type) {
  switch (type) {
    case DType::f32:
      return dnnl::memory::data_type::f32;
    case DType::bf16:
      return dnnl::memory::data_type::bf16;
    default:
      throw Error("the CPU computes in f32 and bf16: use one of these types");
  }
}

dnnl::primitive_attr attributes(bool residual, Activation activation, float slope) {
  dnnl::post_ops post_ops;
  const auto eltwise = [&](dnnl::algorithm algorithm, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
    post_ops.append_eltwise(algorithm, alpha, 0.0F);
#else
    post_ops.append_eltwise(1.0F, algorithm, alpha, 0.0F);
#endif
  };
  if (residual) post_ops.append_sum();
  switch (activation) {
    case Activation::none:
      break;
    case Activation::relu:
      eltwise(dnnl::algorithm::eltwise_relu, 0);
      break;
    case Activation::leaky_relu:
      eltwise(dnnl::algorithm::eltwise_relu, slope);
      break;
    case Activation::silu:
      eltwise(dnnl::algorithm::eltwise_swish, 1);
      break;
    case Activation::gelu:
      eltwise(dnnl::algorithm::eltwise_gelu_erf, 0);
      break;
  }
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attr.set_post_ops(post_ops);
  return attr;
}

void throw_unsupported() {
  throw Error(
      "oneDNN has no such operation for this processor: use f32, because bf16 needs AVX-512");
}

void Plan::add(const dnnl::primitive_desc_base& descriptor, std::vector<Argument> arguments) {
  implementation_ = descriptor.impl_info_str();
  append(descriptor, std::move(arguments));
}

Place Plan::reordered(const Desc& from, Place place, const Desc& to) {
  if (from == to) return place;
  const Place copy = reserve(to);
  reorder(from, place, to, copy);
  return copy;
}

void Plan::reorder(const Desc& from, Place source, const Desc& to, Place target) {
  append(dnnl::reorder::primitive_desc(engine(), from, engine(), to, attributes()),
         {{DNNL_ARG_FROM, from, source}, {DNNL_ARG_TO, to, target}});
}

Place Plan::reserve(const Desc& desc) {
  const Place place{0, workspace_bytes_};
  workspace_bytes_ += (desc.get_size() + 63) / 64 * 64;
  return place;
}

void Plan::append(const dnnl::primitive_desc_base& descriptor, std::vector<Argument> arguments) {
  std::erase_if(arguments, [](const Argument& a) { return a.desc == Desc(); });
  const Desc scratchpad = descriptor.scratchpad_desc();
  if (scratchpad.get_size() > 0)
    arguments.push_back({DNNL_ARG_SCRATCHPAD, scratchpad, reserve(scratchpad)});
  steps_.push_back({descriptor, std::move(arguments)});
}

Key::Key(Operation operation, DType type, std::initializer_list<std::int64_t> sizes) {
  fields[used_++] = static_cast<std::int64_t>(operation);
  fields[used_++] = static_cast<std::int64_t>(type);
  for (const std::int64_t size : sizes) fields[used_++] = size;
}

Key& Key::fused(bool bias, bool residual, Activation activation, float slope) {
  fields[used_++] = bias;
  fields[used_++] = residual;
  fields[used_++] = static_cast<std::int64_t>(activation);
  fields[used_++] = activation == Activation::leaky_relu ? std::bit_cast<std::int32_t>(slope) : 0;
  return *this;
}

const Plan& find_plan(const Key& key, const std::function<Plan()>& make) {
  const FixedThreads fixed;
  return find_compiled(key, make).plan;
}

void run_plan(const Key& key, const std::function<Plan()>& make,
              std::initializer_list<const void*> buffers) {
  thread_local ThreadPlans plans;
  const FixedThreads fixed;
  auto found = plans.bound.find(key);
  if (found == plans.bound.end())
    found = plans.bound.emplace(key, Bound(find_compiled(key, make))).first;
  found->second.run(plans.stream.get(), buffers.begin());
}

void copy(void* target, const void* source, std::size_t bytes) {
  if (target == source) return;
  parallel_chunks(static_cast<std::int64_t>(bytes), [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(static_cast<std::byte*>(target) + begin,
                static_cast<const std::byte*>(source) + begin, end - begin);
  });
}

}  // namespace anaphase::kernels::onednn
