// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <memory>

#include "apps/bench/machine.hpp"
#include "apps/bench/report.hpp"
#include "apps/embed/anaphase.h"
#include "kernels/common/error.hpp"

namespace anaphase::apps::bench {
namespace {

namespace fs = std::filesystem;

/// Throws what the library says.
void require(anaphase_status status, const char* error) {
  if (status != ANAPHASE_OK) throw Error(error);
}

using Model = std::unique_ptr<anaphase_model, decltype(&anaphase_model_close)>;
using Session = std::unique_ptr<anaphase_session, decltype(&anaphase_session_destroy)>;

Model open_model(const fs::path& path, const std::string& device) {
  char error[ANAPHASE_ERROR_SIZE];
  anaphase_model* model = nullptr;
  require(anaphase_model_open(path.c_str(), device.c_str(), &model, error, sizeof error), error);
  return {model, anaphase_model_close};
}

/// For single images.
Session make_session(anaphase_model* model, int size) {
  char error[ANAPHASE_ERROR_SIZE];
  anaphase_session* session = nullptr;
  require(anaphase_session_create(model, 1, size, size, "with=students,steps=1", &session, error,
                                  sizeof error),
          error);
  return {session, anaphase_session_destroy};
}

/// A model's file for as long as this lives.
class TemporaryFile {
 public:
  explicit TemporaryFile(models::Model model)
      : path_(fs::temp_directory_path() / fmt::format("anaphase-bench-{}", ::getpid())) {
    model.save(path_);
  }
  ~TemporaryFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::vector<std::uint8_t> made_up_image(int size, int channels) {
  std::vector<std::uint8_t> bytes;
  for (const float pixel : made_up_pixels(std::int64_t{size} * size * channels))
    bytes.push_back(static_cast<std::uint8_t>((pixel + 2) * 63));
  return bytes;
}

double milliseconds_of(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void measure(const Options& options) {
  const engine::Device device = open_device(options);
  // A file that is opened as it is can tell how long a program takes to its first mask.
  const bool is_ready = !options.model.empty() && !options.precision && options.settings.empty();
  const std::unique_ptr<TemporaryFile> made =
      is_ready ? nullptr : std::make_unique<TemporaryFile>(make_model(options, device));
  const fs::path path = is_ready ? options.model : made->path();

  Model opened{nullptr, anaphase_model_close};
  const double open_ms = milliseconds_of([&] { opened = open_model(path, device.name()); });
  const int size = options.size.value_or(anaphase_model_size(opened.get()));
  const std::vector<std::uint8_t> image =
      made_up_image(size, anaphase_model_channels(opened.get()));
  std::vector<std::uint8_t> mask(std::size_t(size) * size);
  Session session{nullptr, anaphase_session_destroy};
  const double session_ms = milliseconds_of([&] { session = make_session(opened.get(), size); });
  const auto run = [&] {
    require(anaphase_run_mask(session.get(), image.data(), 0, 0, mask.data(), 0, 0),
            anaphase_session_error(session.get()));
  };
  const double first_ms = milliseconds_of(run);
  const double age_ms = 1e3 * process_age_seconds();

  const Times times = repeat(options, run);
  Json row{{"batch", 1}};
  add_times(row, times);
  row["ms_p90"] = times.quantile(0.9);
  row["ms_p99"] = times.quantile(0.99);
  row["images_per_second"] = 1e3 / times.median();
  row["open_ms"] = open_ms;
  row["session_ms"] = session_ms;
  row["first_call_ms"] = first_ms;
  row["start_to_first_mask_ms"] = is_ready ? Json(age_ms) : Json();
  row["peak_resident_mib"] = static_cast<double>(peak_resident_bytes()) / 0x1p20;

  models::Model model = models::Model::load(device, path);
  Report report{.benchmark = "latency", .settings = settings_of(options, model)};
  report.settings["size"] = size;
  report.settings["students"] = model.student_count();
  report.title = fmt::format(
      "Single images of {} x {} pixels through libanaphase; {} of width {}, "
      "{} students, {}",
      size, size, model.config().network.architecture, model.config().network.width,
      model.student_count(), model.config().training.precision);
  report.rows = {row};
  report.columns = {{"ms", "p50 ms", 3},
                    {"ms_p90", "p90", 3},
                    {"ms_p99", "p99", 3},
                    {"ms_max", "max", 3},
                    {"first_call_ms", "first call", 3},
                    {"open_ms", "open", 1},
                    {"session_ms", "session", 1},
                    {"start_to_first_mask_ms", "start to first mask", 0},
                    {"peak_resident_mib", "peak MiB", 1}};
  io::Series series{"ms", {}};
  for (int percent = 0; percent <= 100; ++percent)
    series.points.emplace_back(percent, times.quantile(percent / 100.0));
  report.charts = {chart_of(times, "Calls"),
                   {"Percentiles", "percentile", "ms", io::Scale::automatic, {series}}};
  finish(std::move(report), options, device, {});
}

}  // namespace

void add_latency(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand(
      "latency",
      "Time single images through libanaphase, as a program that embeds it sees them: 8-bit pixels "
      "to a mask by the students in one step, by the host's clock.");
  const auto options = std::make_shared<Options>();
  options->repetitions = 200;
  add_options(*command, *options);
  add_paced(*command, *options);
  command->footer(
      "Examples:\n"
      "  anaphase bench latency --model run --threads 2\n"
      "  anaphase bench latency --preset small --set student.count=1 --precision bf16");
  command->callback([options] { measure(*options); });
}

}  // namespace anaphase::apps::bench
