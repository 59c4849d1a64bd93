// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "models/config.hpp"

namespace anaphase::apps {

inline constexpr const char* preset_help = "Width of the networks: tiny 16, small 32, paper 64";

/// Adds --set KEY=VALUE, which may be given many times.
CLI::Option* add_settings(CLI::App& command, std::vector<std::string>& settings);
void apply_settings(models::Config& config, const std::vector<std::string>& settings);

/// Adds --device NAME.
void add_device(CLI::App& command, std::string& device);
/// Says on stderr why `auto` is the CPU in a build that has CUDA kernels, where it is.
void explain_device(const std::string& device);

}  // namespace anaphase::apps
