// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "io/safetensors.hpp"

namespace anaphase::io {

using MetricValue = std::variant<std::int64_t, double, std::string>;

/// One line of metrics: names and values in the order they are to be shown.
using MetricRow = std::vector<std::pair<std::string, MetricValue>>;

/// The folder of one training run:
///   config.toml                      the configuration the run used; its presence marks a run
///   metrics.jsonl                    one JSON object per line, appended as the run proceeds
///   metrics.csv                      the same as a table, rewritten from metrics.jsonl
///   checkpoint.safetensors           everything needed to resume
///   checkpoint.previous.safetensors  the checkpoint before that one
///   model.safetensors                the best weights so far
///   report.html                      the run's report
class RunFolder {
 public:
  /// Starts a run in a new or empty folder, parents made as needed, and saves its configuration. An
  /// Error when the folder holds a run (the remedy names --resume) or anything else.
  static RunFolder create(const std::filesystem::path& path, std::string_view config);

  /// Opens a run that exists, and removes unfinished files that a killed process left in it.
  static RunFolder open(const std::filesystem::path& path);

  /// Whether `path` is a folder with a config.toml.
  static bool is_run(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config_file() const { return path_ / "config.toml"; }
  std::filesystem::path metrics_file() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path metrics_table() const { return path_ / "metrics.csv"; }
  std::filesystem::path checkpoint() const { return path_ / "checkpoint.safetensors"; }
  std::filesystem::path previous_checkpoint() const {
    return path_ / "checkpoint.previous.safetensors";
  }
  std::filesystem::path model() const { return path_ / "model.safetensors"; }
  std::filesystem::path report() const { return path_ / "report.html"; }

  std::string read_config() const;

  /// Replaces config.toml (a resumed run may raise its number of epochs).
  void write_config(std::string_view toml) const;

  /// Appends one line and hands it to the operating system before returning. Values that are not
  /// finite are written as null.
  void append_metrics(const MetricRow& row) const;

  /// The lines so far; null values come back as NaN. A last line that was cut off is passed over.
  std::vector<MetricRow> read_metrics() const;

  /// Length of metrics.jsonl in bytes, to be kept in a checkpoint; 0 when there is none.
  std::uintmax_t metrics_size() const;

  /// Cuts metrics.jsonl back to a checkpoint's length, so that lines written after that checkpoint
  /// by a killed run are not there twice. An Error when the file is shorter than that.
  void truncate_metrics(std::uintmax_t bytes) const;

  /// Rewrites metrics.csv: the union of the columns in order of first appearance; absent values and
  /// NaN are empty.
  void write_metrics_table() const;

  /// Saves a checkpoint atomically; the one it replaces stays as previous_checkpoint(). There is a
  /// whole checkpoint under checkpoint() at every moment after the first save.
  void save_checkpoint(const SafeTensors& content) const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

}  // namespace anaphase::io
