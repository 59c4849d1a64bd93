// SPDX-License-Identifier: Apache-2.0
#include "tests/apps/command.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "io/synthetic.hpp"

namespace anaphase::apps::testing {
namespace {

int exit_code(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Networks this small leave threads waiting for each other; on a busy machine that takes minutes.
[[maybe_unused]] const int one_thread = ::setenv("OMP_NUM_THREADS", "1", 0);

}  // namespace

Outcome run_program(const std::string& arguments, const std::string& before,
                    const std::string& input) {
  const TemporaryFolder folder;
  const std::filesystem::path in = folder / "in", out = folder / "out", err = folder / "err";
  std::ofstream(in) << input;
  const std::string command = fmt::format("{}'{}' {} >'{}' 2>'{}' <'{}'", before, ANAPHASE_PROGRAM,
                                          arguments, out.string(), err.string(), in.string());
  const int status = std::system(command.c_str());
  return {exit_code(status), io::testing::read_bytes(out), io::testing::read_bytes(err)};
}

Background::Background(const std::vector<std::string>& arguments) : process_(::fork()) {
  if (process_ != 0) return;
  std::vector<char*> words;
  std::string program = ANAPHASE_PROGRAM;
  words.push_back(program.data());
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  const int nowhere = ::open("/dev/null", O_RDWR);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nowhere, stream);
  ::execv(program.c_str(), words.data());
  ::_exit(127);
}

bool Background::wait_for_lines(const std::filesystem::path& file, int lines) {
  for (;;) {
    const std::string text = io::testing::read_bytes(file);
    if (std::count(text.begin(), text.end(), '\n') >= lines) return true;
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT);
    if (info.si_pid != 0) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

int Background::end_with(int signal) {
  ::kill(process_, signal);
  int status = 0;
  ::waitpid(process_, &status, 0);
  return exit_code(status);
}

void make_data(const std::filesystem::path& folder, int count, int size) {
  io::write_synthetic_dataset(folder, {.count = count, .size = size});
}

void check_one_line_error(const Outcome& outcome, const std::string& part) {
  CAPTURE(outcome.err);
  CHECK(outcome.code == 1);
  CHECK(outcome.err.starts_with("anaphase: "));
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  CHECK(outcome.err.ends_with('\n'));
  CHECK(contains(outcome.err, part));
}

std::vector<std::string> files_in(const std::filesystem::path& folder) {
  std::vector<std::string> files;
  if (!std::filesystem::exists(folder)) return files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files.push_back(std::filesystem::relative(entry.path(), folder).string());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace anaphase::apps::testing
