// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/measure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>

#include "engine/stream.hpp"
#include "kernels/common/error.hpp"

namespace anaphase::apps::bench {
namespace {

/// `timed` runs once and returns the milliseconds.
Times repeat_timed(const Options& options, const std::function<double()>& timed) {
  for (int i = 0; i < options.warmup; ++i) timed();
  Times times;
  if (!options.paced) {
    for (int i = 0; i < options.repetitions; ++i) times.all.push_back(timed());
    return times;
  }
  fmt::print("ready\n");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    times.all.push_back(timed());
    fmt::print("{:.6f}\n", times.all.back());
    std::fflush(stdout);
  }
  if (times.all.empty())
    throw Error(
        "no repetition was asked for: with --paced, write a line for each to the standard "
        "input");
  return times;
}

}  // namespace

double Times::quantile(double q) const {
  std::vector<double> sorted = all;
  std::sort(sorted.begin(), sorted.end());
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Times repeat(const Options& options, const engine::Device& device,
             const std::function<void()>& once) {
  engine::Event start(device.stream()), end(device.stream());
  return repeat_timed(options, [&] {
    start.record();
    once();
    end.record();
    end.wait();
    return 1e3 * end.seconds_since(start);
  });
}

Times repeat(const Options& options, const std::function<void()>& once) {
  using Clock = std::chrono::steady_clock;
  return repeat_timed(options, [&] {
    const auto start = Clock::now();
    once();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  });
}

}  // namespace anaphase::apps::bench
