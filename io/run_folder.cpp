// SPDX-License-Identifier: Apache-2.0
#include "io/run_folder.hpp"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/atomic_file.hpp"
#include "io/failure.hpp"

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::string read_text(const fs::path& path) {
  const std::vector<unsigned char> bytes = read_file(path);
  return {bytes.begin(), bytes.end()};
}

MetricValue to_value(const ordered_json& value) {
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  return std::numeric_limits<double>::quiet_NaN();
}

/// One cell of a CSV table; text is quoted when it holds a separator or a quote (RFC 4180).
std::string cell(const MetricValue& value) {
  if (const auto* number = std::get_if<double>(&value)) {
    return std::isfinite(*number) ? fmt::format("{}", *number) : "";
  }
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
  const auto& text = std::get<std::string>(value);
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

}  // namespace

RunFolder RunFolder::create(const fs::path& path, std::string_view config) {
  std::error_code error;
  if (is_run(path)) {
    throw Error(
        fmt::format("{} already holds a run; continue it with --resume or choose another folder",
                    path.string()));
  }
  if (fs::exists(path, error)) {
    if (!fs::is_directory(path, error)) {
      throw Error(fmt::format("{} is a file; choose a folder for the run", path.string()));
    }
    remove_partial_files(path);
    if (!fs::is_empty(path, error)) {
      throw Error(fmt::format("folder {} is not empty and holds no run; choose a new folder",
                              path.string()));
    }
  }
  fs::create_directories(path, error);
  if (error) {
    throw Error(fmt::format("cannot make folder {}: {}; choose a place that you may write to",
                            path.string(), error.message()));
  }
  RunFolder run(path);
  run.write_config(config);
  return run;
}

RunFolder RunFolder::open(const fs::path& path) {
  if (!is_run(path)) {
    throw Error(fmt::format("{} holds no run (there is no config.toml in it); check the name",
                            path.string()));
  }
  remove_partial_files(path);
  return RunFolder(path);
}

bool RunFolder::is_run(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path / "config.toml", ignored);
}

std::string RunFolder::read_config() const {
  return read_text(config_file());
}

void RunFolder::write_config(std::string_view toml) const {
  write_file_atomically(config_file(), toml);
}

void RunFolder::append_metrics(const MetricRow& row) const {
  ordered_json object = ordered_json::object();
  for (const auto& [name, value] : row) {
    std::visit([&, &key = name](const auto& v) { object[key] = v; }, value);
  }
  const std::string line =
      object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  const std::uintmax_t size_before = metrics_size();
  const int file = ::open(metrics_file().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const ssize_t written = file < 0 ? -1 : ::write(file, line.data(), line.size());
  const bool whole = written == static_cast<ssize_t>(line.size());
  const int error = written < 0 ? errno : ENOSPC;
  if (!whole && file >= 0) {  // no half line stays behind
    [[maybe_unused]] const int ignored = ::ftruncate(file, static_cast<off_t>(size_before));
  }
  if (file >= 0) ::close(file);
  if (!whole) {
    throw Error(fmt::format("cannot write {}: {}; free some space or check its permissions",
                            metrics_file().string(), std::strerror(error)));
  }
}

std::vector<MetricRow> RunFolder::read_metrics() const {
  std::vector<MetricRow> rows;
  if (metrics_size() == 0) return rows;
  std::istringstream lines(read_text(metrics_file()));
  for (std::string line; std::getline(lines, line);) {
    const ordered_json object = ordered_json::parse(line, nullptr, false);
    if (!object.is_object()) {
      if (lines.eof()) break;
      cannot_read(metrics_file(),
                  fmt::format("line {} is not a JSON object; remove the line", rows.size() + 1));
    }
    MetricRow row;
    for (const auto& [name, value] : object.items()) row.emplace_back(name, to_value(value));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::uintmax_t RunFolder::metrics_size() const {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(metrics_file(), error);
  return error ? 0 : size;
}

void RunFolder::truncate_metrics(std::uintmax_t bytes) const {
  if (metrics_size() < bytes) {
    throw Error(
        fmt::format("{} is shorter than its checkpoint says ({} of {} bytes); restore it or start "
                    "a new run",
                    metrics_file().string(), metrics_size(), bytes));
  }
  if (metrics_size() == bytes) return;
  std::error_code error;
  fs::resize_file(metrics_file(), bytes, error);
  if (error) {
    throw Error(fmt::format("cannot write {}: {}; check its permissions", metrics_file().string(),
                            error.message()));
  }
}

void RunFolder::write_metrics_table() const {
  const std::vector<MetricRow> rows = read_metrics();
  std::vector<std::string> columns;
  for (const MetricRow& row : rows) {
    for (const auto& [name, value] : row) {
      if (std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
    }
  }
  std::vector<std::string> cells;
  cells.reserve(columns.size());
  for (const std::string& column : columns) cells.push_back(cell(column));
  std::string table = fmt::format("{}\n", fmt::join(cells, ","));
  for (const MetricRow& row : rows) {
    cells.clear();
    for (const std::string& column : columns) {
      const auto found = std::find_if(row.begin(), row.end(),
                                      [&](const auto& entry) { return entry.first == column; });
      cells.push_back(found == row.end() ? std::string() : cell(found->second));
    }
    table += fmt::format("{}\n", fmt::join(cells, ","));
  }
  write_file_atomically(metrics_table(), table);
}

void RunFolder::save_checkpoint(const SafeTensors& content) const {
  // The old checkpoint gets a second name before the new one takes its first, so it is never
  // missing.
  const fs::path second_name = path_ / fmt::format(".previous.{}.partial", ::getpid());
  std::error_code error;
  fs::remove(second_name, error);
  if (fs::exists(checkpoint(), error)) {
    fs::create_hard_link(checkpoint(), second_name, error);
    if (error) fs::copy_file(checkpoint(), second_name, error);  // a file system without links
    if (!error) fs::rename(second_name, previous_checkpoint(), error);
    const bool kept = !error;
    fs::remove(second_name, error);  // renaming between two names of one file does nothing
    if (!kept) {
      throw Error(
          fmt::format("cannot keep the last checkpoint as {}; free some space or check the "
                      "folder's permissions",
                      previous_checkpoint().string()));
    }
  }
  write_safetensors(checkpoint(), content);
}

}  // namespace anaphase::io
