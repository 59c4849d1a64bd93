// SPDX-License-Identifier: Apache-2.0
#pragma once

// Loops over all cores for the CPU kernels. oneDNN runs on OpenMP too, so both share one pool of
// threads.

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "kernels/common/error.hpp"
#include "kernels/common/types.hpp"

namespace anaphase::kernels {

/// body(i) for i in [0, count), split statically over the threads; small jobs (fewer than `grain`
/// units of work in all) stay on the calling thread. `work` is the cost of one i in elements
/// touched.
template <class Body>
void parallel_for(std::int64_t count, std::int64_t work, Body&& body) {
  constexpr std::int64_t grain = 16384;
  const bool many = count > 1 && count * work >= grain;
#pragma omp parallel for schedule(static) if (many)
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

/// body(begin, end) over [0, count) in chunks of a fixed size: the partition, and so any sum made
/// per chunk, does not depend on the number of threads.
inline constexpr std::int64_t chunk_size = 8192;

constexpr std::int64_t chunks_of(std::int64_t count, std::int64_t chunk = chunk_size) {
  return (count + chunk - 1) / chunk;
}

template <class Body>
void parallel_chunks(std::int64_t count, Body&& body, std::int64_t chunk = chunk_size) {
  parallel_for(chunks_of(count, chunk), chunk,
               [&](std::int64_t i) { body(i * chunk, std::min(count, (i + 1) * chunk)); });
}

/// Calls f(T{}) with the C++ type of the CPU's activations, float or bf16.
template <class F>
void with_cpu_type(DType type, F&& f) {
  switch (type) {
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    default:
      throw Error("the CPU computes in f32 and bf16: use one of these types");
  }
}

}  // namespace anaphase::kernels
