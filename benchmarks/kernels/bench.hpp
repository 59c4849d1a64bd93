// SPDX-License-Identifier: Apache-2.0
#pragma once

// Times one operation of the contract on the CPU. A benchmark's name says the operation, the type
// and the sizes, as in "conv3x3_forward/f32/16x16/n4/128px".

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/memory.hpp"

namespace anaphase::bench {

using kernels::DType;

/// The types that this processor computes in.
inline std::vector<DType> types() {
  std::vector<DType> all{DType::f32, DType::bf16};
  std::erase_if(all, [](DType type) { return !kernels::computes_in(kernels::Stream{}, type); });
  return all;
}

/// Aligned memory for `count` elements, all of the same small value; freed at the end of the
/// benchmark.
class Buffer {
 public:
  Buffer(DType type, std::int64_t count, float value = 0.25F)
      : bytes_(static_cast<std::size_t>(count) * kernels::size_of(type)),
        data_(std::aligned_alloc(64, (bytes_ / 64 + 1) * 64), std::free) {
    if (type == DType::f32)
      std::fill_n(static_cast<float*>(data_.get()), count, value);
    else if (type == DType::bf16)
      std::fill_n(static_cast<kernels::bf16*>(data_.get()), count, kernels::bf16(value));
    else
      std::fill_n(static_cast<std::byte*>(data_.get()), bytes_, std::byte{0});
  }

  template <class T = void>
  T* get() const {
    return static_cast<T*>(data_.get());
  }
  double bytes() const { return static_cast<double>(bytes_); }

 private:
  std::size_t bytes_;
  std::unique_ptr<void, decltype(&std::free)> data_;
};

/// Runs `op` until the library has seen enough. `bytes`: what it has to read and write at least;
/// `flops`: its multiplications and additions. Zero: that rate is not shown.
template <class Operation>
void measure(benchmark::State& state, Operation op, double bytes, double flops) {
  const kernels::Stream stream;
  std::unique_ptr<Buffer> workspace;
  if constexpr (requires { op.workspace; }) {
    workspace = std::make_unique<Buffer>(
        DType::f32, static_cast<std::int64_t>(kernels::workspace_bytes(stream, op) / 4 + 1));
    op.workspace = workspace->get();
  }
  kernels::launch(stream, op);  // makes oneDNN's primitives
  for (auto _ : state) kernels::launch(stream, op);
  const auto rate = [&](const char* name, double work) {
    if (work > 0)
      state.counters[name] = {work * 1e-9, benchmark::Counter::kIsIterationInvariantRate};
  };
  rate("GFLOP/s", flops);
  rate("GB/s", bytes);
}

template <class Body>
void add(const std::string& name, Body body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

void add_attention();
void add_conv();
void add_group_norm();
void add_random();

}  // namespace anaphase::bench
