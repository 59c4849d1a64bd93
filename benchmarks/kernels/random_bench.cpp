// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "benchmarks/kernels/bench.hpp"
#include "kernels/random/random.hpp"

namespace anaphase::bench {

void add_random() {
  constexpr int n = 4;
  for (const DType type : types())
    for (const std::int64_t per_sample : {std::int64_t{128} * 128 * 3, std::int64_t{1} << 20})
      add(fmt::format("random_normal/{}/n{}/{}", kernels::name_of(type), n, per_sample),
          [=](benchmark::State& state) {
            const Buffer keys(DType::u64, n), y(type, n * per_sample);
            measure(state,
                    kernels::RandomNormal{.n = n,
                                          .per_sample = per_sample,
                                          .type = type,
                                          .keys = keys.get<const std::uint64_t>(),
                                          .y = y.get()},
                    y.bytes(), 0);
          });
}

}  // namespace anaphase::bench
