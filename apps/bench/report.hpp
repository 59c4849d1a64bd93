// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/bench/bench.hpp"
#include "apps/bench/ceilings.hpp"
#include "apps/bench/measure.hpp"
#include "engine/program.hpp"
#include "io/svg.hpp"

namespace anaphase::apps::bench {

using Json = nlohmann::ordered_json;

/// One column of a table for readers: a key of the rows, what stands above it, digits after the
/// point.
struct Column {
  std::string key, heading;
  int decimals = 2;
};

struct Table {
  std::string title;
  std::vector<Column> columns;
  std::vector<Json> rows;
};

/// A measurement as it is shown and saved. docs/benchmarks.md describes the keys.
struct Report {
  std::string benchmark;  // the subcommand
  std::string title = {};
  Json settings = {};
  std::vector<Json> rows = {};
  std::vector<Column> columns = {};  // of the rows, for readers
  std::vector<Table> tables = {};    // more of them
  std::vector<io::LineChart> charts = {};
};

/// Median, extremes and quartiles: "ms", "ms_min", "ms_q1", "ms_q3", "ms_max", "samples_ms".
void add_times(Json& row, const Times& times);
/// The work of a repetition: "gflop", "gbyte".
void add_work(Json& row, double flops, double bytes);
/// "planned_mib" of a program, "device_mib" that lie on the device, "peak_resident_mib" of the
/// process.
void add_memory(Json& row, const engine::MemoryPlan& plan);
/// What time and work of a row come to, and their share of the ceilings; nothing for a row without
/// work.
void add_rates(Json& row, const std::optional<Ceilings>& ceilings);

/// The columns of `add_times`, `add_rates` and `add_memory`, and of `profile_rows`.
std::vector<Column> time_columns();
std::vector<Column> rate_columns();
std::vector<Column> memory_columns();
std::vector<Column> profile_columns();
void append(std::vector<Column>& columns, const std::vector<Column>& more);

/// Every repetition's time.
io::LineChart chart_of(const Times& times, const std::string& title);

/// The calls of a program by name, those that take longest first.
std::vector<Json> profile_rows(const std::map<std::string, engine::CallProfile>& profile);

double flops_of(const engine::Program& program);
double bytes_of(const engine::Program& program);

/// "unet of width 16, 3 channels, 2 classes, 128 x 128 pixels, f32".
std::string model_text(const models::Model& model);
/// The settings that all measurements of a model have.
Json settings_of(const Options& options, models::Model& model);

/// Completes the rows that tell work, and writes the report: to the standard output (with --paced,
/// or where that is for JSON, to the standard error), and where --json and --html say.
void finish(Report report, const Options& options, const engine::Device& device,
            const std::optional<Ceilings>& ceilings);

}  // namespace anaphase::apps::bench
