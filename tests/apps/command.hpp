// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/io/temporary_folder.hpp"

namespace anaphase::apps::testing {

using io::testing::contains;
using io::testing::TemporaryFolder;

/// How a run of the program ended, and what it wrote.
struct Outcome {
  int code = 0;  // exit status; 128 + N when signal N ended it
  std::string out, err;
};

/// Runs the program with `arguments`, words as a shell reads them; `before` are shell commands that
/// go first, for example a limit; `input` is what it reads.
Outcome run_program(const std::string& arguments, const std::string& before = "",
                    const std::string& input = "");

/// A run of the program in the background.
class Background {
 public:
  explicit Background(const std::vector<std::string>& arguments);
  /// Waits until `file` has at least `lines` lines; false when the program ended before.
  bool wait_for_lines(const std::filesystem::path& file, int lines);
  /// Sends the signal and waits for the end; as Outcome::code.
  int end_with(int signal);

 private:
  pid_t process_;
};

/// A data set of `count` made-up images of `size` pixels; the last fifth is val.
void make_data(const std::filesystem::path& folder, int count, int size);

/// Options of a training run that takes a second: the smallest network on images of 16 pixels.
inline constexpr std::string_view quick =
    " --size 16 --labels 50% --epochs 1 --pretrain-epochs 1 --set network.architecture=plain "
    "--set network.width=8 --set training.batch=2 --set rounds.count=1 ";

/// Checks that the program failed with code 1 and one line on stderr that contains `part`.
void check_one_line_error(const Outcome& outcome, const std::string& part);

/// The paths of all files in `folder`, relative to it, sorted; none when there is no such folder.
std::vector<std::string> files_in(const std::filesystem::path& folder);

}  // namespace anaphase::apps::testing
