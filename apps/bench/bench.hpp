// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/safetensors.hpp"
#include "models/model.hpp"

// The subcommands of `anaphase bench`: what they have in common.

namespace anaphase::apps::bench {

struct Options {
  std::filesystem::path model;  // empty: a fresh one, made as the next six say
  std::string preset = "tiny", network = "unet";
  int channels = 3, classes = 2;
  std::optional<int> size;
  std::optional<std::string> precision;
  std::vector<std::string> settings;

  std::vector<int> batches = {1};
  std::string device = "auto";
  int threads = 0;  // 0: as OpenMP chooses
  int warmup = 3, repetitions = 10;
  bool paced = false, profile = false;
  std::filesystem::path json, html, weights, dump;
};

/// Adds the options of every measurement.
void add_options(CLI::App& command, Options& options);
// Those of some.
void add_paced(CLI::App& command, Options& options);
void add_batches(CLI::App& command, Options& options);
/// --export and --dump.
void add_files(CLI::App& command, Options& options, const std::string& dumped);
void add_profile(CLI::App& command, Options& options);

/// What has to come before everything else: checks the options, sets the threads, opens the device.
engine::Device open_device(const Options& options);

/// The model that is measured, with `keys` of its configuration changed.
using Keys = std::vector<std::pair<std::string, std::string>>;
models::Model make_model(const Options& options, const engine::Device& device,
                         const Keys& keys = {});

/// Input that no kernel can take advantage of: the same numbers every time, uniform in [-2, 2],
/// about where normalised pixels lie.
std::vector<float> made_up_pixels(std::int64_t count);
/// Squares of 8 pixels, coloured by class.
std::vector<std::int32_t> made_up_labels(int batch, int size, int classes);

/// Tensors for a dump.
io::TensorEntry dumped(const engine::Shape& shape, const std::vector<float>& values);
io::TensorEntry dumped(const engine::Shape& shape, const std::vector<std::int32_t>& values);

void add_sampling(CLI::App& bench);
void add_training(CLI::App& bench);
void add_latency(CLI::App& bench);
void add_kernels(CLI::App& bench);

}  // namespace anaphase::apps::bench
