// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "apps/bench/bench.hpp"

namespace anaphase::apps::bench {

/// How long something takes, in milliseconds.
struct Times {
  std::vector<double> all;  // in the order they were taken

  /// The value that a share `q` of the times does not exceed, linear between neighbours.
  double quantile(double q) const;
  double median() const { return quantile(0.5); }
};

/// Runs `once` for warm-up, then as often as the options ask, and returns what the repetitions
/// took by the device's own clock. With --paced, "ready" goes to the standard output after the
/// warm-up; then every line of the standard input asks for one repetition, whose milliseconds are
/// the answer.
Times repeat(const Options& options, const engine::Device& device,
             const std::function<void()>& once);

/// The same, where the clock is the host's and `once` waits for the device itself.
Times repeat(const Options& options, const std::function<void()>& once);

}  // namespace anaphase::apps::bench
