// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "models/training/trainer.hpp"

namespace anaphase::apps {

/// "2:05" or "1:02:05" for hours.
std::string clock_time(double seconds);

/// Shows how training proceeds, on stderr: on a terminal as one line that is rewritten, otherwise
/// as a line for every tenth of a stage and after every ten seconds of silence.
class ProgressLine {
 public:
  ProgressLine();
  /// Ends the line that is being rewritten.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(const models::Progress& progress);

  /// The text of such a line; `seconds_left` of the stage.
  static std::string text(const models::Progress& progress);

 private:
  using Clock = std::chrono::steady_clock;

  void rewrite(const models::Progress& progress);

  bool is_terminal_;
  bool is_open_ = false;  // the cursor stands behind an unfinished line
  std::string stage_;
  std::int64_t tenth_ = 0;  // of the stage, that was shown last
  Clock::time_point shown_;
};

}  // namespace anaphase::apps
