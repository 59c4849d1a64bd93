// SPDX-License-Identifier: Apache-2.0
#include "engine/program.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace anaphase::engine {
namespace {

constexpr std::size_t alignment = 64;
constexpr std::size_t aligned(std::size_t bytes) {
  return std::max((bytes + alignment - 1) / alignment * alignment, alignment);
}

/// Traced buffers have no owner yet; everything else has memory of its own.
bool is_planned(const Tensor& tensor) {
  return tensor.storage()->owner == nullptr;
}

}  // namespace

std::size_t plan_offsets(const std::vector<Lifetime>& lifetimes,
                         std::vector<std::size_t>& offsets) {
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return lifetimes[a].bytes > lifetimes[b].bytes;
  });
  offsets.assign(lifetimes.size(), 0);
  std::vector<std::size_t> by_offset;  // placed so far
  std::size_t peak = 0;
  for (const std::size_t i : order) {
    const Lifetime& life = lifetimes[i];
    std::size_t offset = 0;
    for (const std::size_t other : by_offset) {
      const Lifetime& busy = lifetimes[other];
      if (busy.last < life.first || busy.first > life.last) continue;
      if (offsets[other] >= offset + aligned(life.bytes)) break;  // a gap that is wide enough
      offset = std::max(offset, offsets[other] + aligned(busy.bytes));
    }
    offsets[i] = offset;
    const auto place =
        std::upper_bound(by_offset.begin(), by_offset.end(), i,
                         [&](std::size_t a, std::size_t b) { return offsets[a] < offsets[b]; });
    by_offset.insert(place, i);
    peak = std::max(peak, offset + aligned(life.bytes));
  }
  return peak;
}

Tensor Trace::allocate(Shape shape, DType type) {
  auto storage = std::make_shared<Storage>();
  storage->device = device();
  storage->bytes = count_of(shape) * kernels::size_of(type);
  return {std::move(shape), type, std::move(storage)};
}

void Trace::run(Call call) {
  calls_.push_back(std::move(call));
}

void Trace::prepare(Call call) {
  preparations_.push_back(std::move(call));
}

Program Trace::finish(const std::vector<Tensor>& results) {
  std::vector<Storage*> buffers;
  std::vector<Lifetime> lifetimes;
  std::unordered_map<Storage*, std::size_t> index;
  const auto touch = [&](const Tensor& tensor, std::size_t call) {
    const auto [it, is_new] = index.try_emplace(tensor.storage().get(), buffers.size());
    if (is_new) {
      buffers.push_back(tensor.storage().get());
      lifetimes.push_back({tensor.storage()->bytes, call, call});
    }
    lifetimes[it->second].last = call;
  };
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    for (const Tensor& tensor : calls_[i].reads) {
      if (!tensor || !is_planned(tensor)) continue;
      if (!index.contains(tensor.storage().get()))
        throw std::logic_error(calls_[i].name + " reads a buffer that no call has written");
      touch(tensor, i);
    }
    for (const Tensor& tensor : calls_[i].writes)
      if (tensor && is_planned(tensor)) touch(tensor, i);
  }
  for (const Tensor& tensor : results)
    if (tensor && is_planned(tensor)) {
      if (!index.contains(tensor.storage().get()))
        throw std::logic_error("a program's result is written by none of its calls");
      touch(tensor, calls_.size());
    }

  Program program;
  std::vector<std::size_t> offsets;
  program.plan_ = {calls_.size(), buffers.size(), plan_offsets(lifetimes, offsets), 0};
  program.block_ = engine::allocate(device(), program.plan_.peak_bytes);
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    buffers[i]->data = program.block_.get() + offsets[i];
    buffers[i]->owner = program.block_;
    program.plan_.total_bytes += aligned(buffers[i]->bytes);
  }
  program.device_ = device();
  program.preparations_ = std::move(preparations_);
  program.calls_ = std::move(calls_);
  return program;
}

void Program::make(const std::vector<Call>& calls) const {
  const kernels::Stream stream = device_.stream();
  kernels::make_current(stream);
  for (const Call& call : calls) call.body(stream);
}

/// What depends on parameters alone, unless it is there.
void Program::prepare() {
  if (!std::exchange(is_prepared_, true)) make(preparations_);
}

void Program::replay() {
  ++replays_;
  prepare();
  // The first replay loads a GPU's kernels, which is not for a capture to do.
  if (!device_.is_gpu() || !std::exchange(is_warm_, true)) return make(calls_);
  if (!graph_) graph_ = Graph(device_.stream(), [this] { make(calls_); });
  graph_.launch();
}

std::map<std::string, double> Program::work() const {
  std::map<std::string, double> flops;
  for (const Call& call : calls_) flops[call.name] += call.flops;
  return flops;
}

std::vector<double> Program::time_calls() {
  prepare();
  const kernels::Stream stream = device_.stream();
  kernels::make_current(stream);
  std::vector<Event> marks;  // before the first call and after each
  for (std::size_t i = 0; i <= calls_.size(); ++i) marks.emplace_back(stream);
  marks.front().record();
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    calls_[i].body(stream);
    marks[i + 1].record();
  }
  marks.back().wait();
  std::vector<double> seconds;
  for (std::size_t i = 0; i < calls_.size(); ++i)
    seconds.push_back(marks[i + 1].seconds_since(marks[i]));
  return seconds;
}

std::map<std::string, CallProfile> Program::profile() {
  replay();
  const std::vector<double> seconds = time_calls();
  std::map<std::string, CallProfile> profiles;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    CallProfile& profile = profiles[calls_[i].name];
    ++profile.calls;
    profile.seconds += seconds[i];
    profile.flops += calls_[i].flops;
    profile.bytes += calls_[i].bytes;
  }
  return profiles;
}

}  // namespace anaphase::engine
