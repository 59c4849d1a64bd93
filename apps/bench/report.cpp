// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/report.hpp"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cstdio>

#include "apps/bench/machine.hpp"
#include "apps/build.hpp"
#include "io/atomic_file.hpp"
#include "io/page.hpp"

namespace anaphase::apps::bench {
namespace {

double mebibytes(std::size_t bytes) {
  return static_cast<double>(bytes) / 0x1p20;
}

std::string cell(const Json& row, const Column& column) {
  const auto found = row.find(column.key);
  if (found == row.end() || found->is_null()) return "-";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_integer()) return found->dump();
  return fmt::format("{:.{}f}", found->get<double>(), column.decimals);
}

/// The first row is the heading.
std::vector<io::Row> cells(const std::vector<Column>& columns, const std::vector<Json>& rows) {
  std::vector<io::Row> result(1);
  for (const Column& column : columns) result.front().push_back(column.heading);
  for (const Json& row : rows) {
    result.emplace_back();
    for (const Column& column : columns) result.back().push_back(cell(row, column));
  }
  return result;
}

void print(std::FILE* out, const std::vector<io::Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const io::Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  for (const io::Row& row : rows) {
    fmt::print(out, "{:<{}}", row[0], widths[0]);
    for (std::size_t i = 1; i < row.size(); ++i) fmt::print(out, "  {:>{}}", row[i], widths[i]);
    fmt::print(out, "\n");
  }
}

std::string device_text(const engine::Device& device) {
  for (const auto& [name, text] : engine::describe_devices())
    if (name == device.name()) return text;
  return "";
}

Json machine(const engine::Device& device) {
  return {{"processor", processor_name()},
          {"threads", omp_get_max_threads()},
          {"device", device.name()},
          {"device_description", device_text(device)}};
}

std::string ceilings_sentence(const std::optional<Ceilings>& ceilings) {
  if (!ceilings) return "No ceilings were measured.";
  return fmt::format(
      "Ceilings measured in this process: {:.1f} GFLOP/s (product of two 2048 x 2048 matrices), "
      "{:.1f} GB/s (y = a + 2 b, 384 MiB).",
      1e-9 * ceilings->flops_per_second, 1e-9 * ceilings->bytes_per_second);
}

std::string show(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::vector<io::Row> facts(const Json& document) {
  std::vector<io::Row> rows{{"what", "value"}, {"command", document["command"]}};
  for (const char* part : {"machine", "build", "settings"})
    for (const auto& [key, value] : document[part].items()) {
      rows.push_back({key, show(value)});
      std::replace(rows.back()[0].begin(), rows.back()[0].end(), '_', ' ');
    }
  return rows;
}

std::string html(const Report& report, const Json& document, const std::string& ceilings) {
  std::string charts;
  for (const io::LineChart& chart : report.charts) charts += io::draw(chart);
  std::string content =
      io::section("Results", io::table(cells(report.columns, report.rows), "numbers") +
                                 io::sentence(ceilings)) +
      io::section("Charts", "<div class=\"charts\">\n" + charts + "</div>\n");
  for (const Table& table : report.tables)
    content += io::section(table.title, io::table(cells(table.columns, table.rows), "numbers"));
  return io::page(fmt::format("bench {}", report.benchmark), report.title,
                  content + io::section("How it was measured", io::table(facts(document), "")));
}

}  // namespace

void add_times(Json& row, const Times& times) {
  row["ms"] = times.median();
  row["ms_min"] = times.quantile(0);
  row["ms_q1"] = times.quantile(0.25);
  row["ms_q3"] = times.quantile(0.75);
  row["ms_max"] = times.quantile(1);
  row["samples_ms"] = times.all;
}

void add_work(Json& row, double flops, double bytes) {
  row["gflop"] = 1e-9 * flops;
  row["gbyte"] = 1e-9 * bytes;
}

void add_memory(Json& row, const engine::MemoryPlan& plan) {
  row["planned_mib"] = mebibytes(plan.peak_bytes);
  row["device_mib"] = mebibytes(engine::memory_use().live_bytes);
  row["peak_resident_mib"] = mebibytes(peak_resident_bytes());
}

void add_rates(Json& row, const std::optional<Ceilings>& ceilings) {
  if (!row.contains("gflop")) return;
  const double seconds = 1e-3 * row.at("ms").get<double>();
  const auto add = [&](const char* work, const char* rate, const char* share, double ceiling) {
    row[rate] = row.at(work).get<double>() / seconds;
    row[share] = ceilings ? Json(100 * row[rate].get<double>() / (1e-9 * ceiling)) : Json();
  };
  add("gflop", "gflop_per_second", "percent_of_matrix_product",
      ceilings ? ceilings->flops_per_second : 0);
  add("gbyte", "gbyte_per_second", "percent_of_bandwidth",
      ceilings ? ceilings->bytes_per_second : 0);
}

std::vector<Column> time_columns() {
  return {{"ms", "ms", 3}, {"ms_min", "min", 3}, {"ms_q1", "q1", 3}, {"ms_q3", "q3", 3}};
}

std::vector<Column> rate_columns() {
  return {{"gflop_per_second", "GFLOP/s", 1},
          {"percent_of_matrix_product", "% of product", 1},
          {"gbyte_per_second", "GB/s", 1},
          {"percent_of_bandwidth", "% of bandwidth", 1}};
}

std::vector<Column> memory_columns() {
  return {{"planned_mib", "planned MiB", 1}, {"peak_resident_mib", "peak MiB", 1}};
}

std::vector<Column> profile_columns() {
  std::vector<Column> columns{
      {"call", "call"}, {"calls", "calls"}, {"ms", "ms", 3}, {"percent_of_time", "% of time", 1}};
  append(columns, rate_columns());
  return columns;
}

void append(std::vector<Column>& columns, const std::vector<Column>& more) {
  columns.insert(columns.end(), more.begin(), more.end());
}

io::LineChart chart_of(const Times& times, const std::string& title) {
  io::Series series{"ms", {}};
  for (std::size_t i = 0; i < times.all.size(); ++i)
    series.points.emplace_back(i + 1, times.all[i]);
  return {title, "repetition", "ms", io::Scale::linear, {series}};
}

std::vector<Json> profile_rows(const std::map<std::string, engine::CallProfile>& profile) {
  double seconds = 0;
  for (const auto& [name, part] : profile) seconds += part.seconds;
  std::vector<Json> rows;
  for (const auto& [name, part] : profile) {
    rows.push_back({{"call", name},
                    {"calls", part.calls},
                    {"ms", 1e3 * part.seconds},
                    {"percent_of_time", 100 * part.seconds / seconds}});
    add_work(rows.back(), part.flops, part.bytes);
  }
  std::sort(rows.begin(), rows.end(), [](const Json& a, const Json& b) {
    return a["ms"].get<double>() > b["ms"].get<double>();
  });
  return rows;
}

double flops_of(const engine::Program& program) {
  double flops = 0;
  for (const engine::Call& call : program.calls()) flops += call.flops;
  return flops;
}

double bytes_of(const engine::Program& program) {
  double bytes = 0;
  for (const engine::Call& call : program.calls()) bytes += call.bytes;
  return bytes;
}

std::string model_text(const models::Model& model) {
  const models::Config& config = model.config();
  return fmt::format("{} of width {}, {} channels, {} classes, {} x {} pixels, {}",
                     config.network.architecture, config.network.width, model.facts().channels,
                     model.facts().classes, config.data.size, config.data.size,
                     config.training.precision);
}

Json settings_of(const Options& options, models::Model& model) {
  const models::Config& config = model.config();
  Json settings{{"model", options.model.string()},
                {"network", config.network.architecture},
                {"width", config.network.width},
                {"channels", model.facts().channels},
                {"classes", model.facts().classes},
                {"size", config.data.size},
                {"precision", config.training.precision},
                {"parameters", model.parameter_count()},
                {"warmup", options.warmup},
                {"repetitions", options.repetitions},
                {"paced", options.paced}};
  if (options.model.empty()) settings.erase("model");
  return settings;
}

void finish(Report report, const Options& options, const engine::Device& device,
            const std::optional<Ceilings>& ceilings) {
  for (Json& row : report.rows) add_rates(row, ceilings);
  for (Table& table : report.tables)
    for (Json& row : table.rows) add_rates(row, ceilings);

  Json build;
  for (const auto& [name, value] : build_facts()) build[name] = value;
  Json document{{"benchmark", report.benchmark},
                {"machine", machine(device)},
                {"build", build},
                {"command", command_line()},
                {"settings", report.settings},
                {"ceilings", nullptr},
                {"rows", report.rows}};
  if (ceilings)
    document["ceilings"] = {{"gflop_per_second", 1e-9 * ceilings->flops_per_second},
                            {"gbyte_per_second", 1e-9 * ceilings->bytes_per_second}};

  const std::string about_ceilings = ceilings_sentence(ceilings);
  std::FILE* out = options.paced || options.json == "-" ? stderr : stdout;
  fmt::print(out, "{}\n\n", report.title);
  print(out, cells(report.columns, report.rows));
  for (const Table& table : report.tables) {
    fmt::print(out, "\n{}\n", table.title);
    print(out, cells(table.columns, table.rows));
  }
  fmt::print(out, "\n{}\n", about_ceilings);
  if (options.json == "-")
    fmt::print("{}\n", document.dump(2));
  else if (!options.json.empty())
    io::write_file_atomically(options.json, document.dump(2) + "\n");
  if (!options.html.empty())
    io::write_file_atomically(options.html, html(report, document, about_ceilings));
}

}  // namespace anaphase::apps::bench
