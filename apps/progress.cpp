// SPDX-License-Identifier: Apache-2.0
#include "apps/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace anaphase::apps {

using namespace std::chrono_literals;

std::string clock_time(double seconds) {
  const auto whole = std::llround(seconds);
  const auto hours = whole / 3600, minutes = whole / 60 % 60;
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60);
  return fmt::format("{}:{:02}", minutes, whole % 60);
}

ProgressLine::ProgressLine() : is_terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (is_open_) std::fputc('\n', stderr);
}

std::string ProgressLine::text(const models::Progress& progress) {
  std::string text =
      fmt::format("{:<11}  epoch {}/{}  {:.1f} steps/s  loss {:.4f}", progress.stage,
                  progress.epoch, progress.epochs, progress.steps_per_second, progress.loss);
  if (progress.dice >= 0) text += fmt::format("  Dice {:.3f}", progress.dice);
  const auto steps_left = static_cast<double>(progress.steps - progress.step);
  return text + fmt::format("  {} left", clock_time(steps_left / progress.steps_per_second));
}

void ProgressLine::show(const models::Progress& progress) {
  const bool is_new_stage = progress.stage != stage_;
  const bool is_last = progress.step == progress.steps;
  const std::int64_t tenth = 10 * progress.step / progress.steps;
  const auto now = Clock::now();
  const auto patience = is_terminal_ ? 100ms : 10s;
  const bool is_due = now - shown_ >= patience || (!is_terminal_ && tenth != tenth_);
  if (!is_new_stage && !is_last && !is_due) return;
  if (is_new_stage && is_open_) std::fputc('\n', stderr);
  is_open_ = false;
  stage_ = progress.stage;
  tenth_ = tenth;
  shown_ = now;
  if (is_terminal_)
    rewrite(progress);
  else
    fmt::print(stderr, "{}\n", text(progress));
}

void ProgressLine::rewrite(const models::Progress& progress) {
  winsize window{};
  const bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1;
  const std::size_t width = is_known ? window.ws_col - 1U : 79U;
  fmt::print(stderr, "\r{}\x1b[K", text(progress).substr(0, width));
  std::fflush(stderr);
  is_open_ = true;
}

}  // namespace anaphase::apps
