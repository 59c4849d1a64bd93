// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

namespace anaphase::apps {

// Each adds one subcommand to `app`: its description, its options, and a callback that does the
// work and throws anaphase::Error when it cannot. A callback that ends with another exit code than
// 0 throws CLI::RuntimeError with that code; one that finds the options at odds throws
// CLI::ValidationError.
void add_train(CLI::App& app);
void add_segment(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_report(CLI::App& app);
void add_synth(CLI::App& app);
void add_slices(CLI::App& app);
void add_info(CLI::App& app);
void add_bench(CLI::App& app);

}  // namespace anaphase::apps
