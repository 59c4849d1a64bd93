// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>

#include "apps/commands.hpp"
#include "apps/help.hpp"
#include "kernels/common/error.hpp"
#include "kernels/common/version.hpp"

namespace {

constexpr int failed = 1, wrong_usage = 2;

int run(int argc, char** argv) {
  using namespace anaphase;
  CLI::App app(
      "Segments biomedical images where few of them are labelled: a diffusion teacher and twin "
      "students learn from the labelled and the unlabelled images of a folder.",
      "anaphase");
  app.formatter(std::make_shared<apps::HelpFormatter>());
  app.get_formatter()->column_width(26);
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.set_version_flag("--version", fmt::format("anaphase {}", version),
                       "Print the version and exit");
  app.require_subcommand(0, 1);
  app.option_defaults()->take_last();  // of an option that is given twice
  app.get_formatter()->label("SUBCOMMAND", "COMMAND");
  app.footer(
      "Try it:\n"
      "  anaphase synth --out shapes --count 60 --size 64\n"
      "  anaphase train --data shapes --out run --size 64 --epochs 40\n"
      "  anaphase segment --model run --in shapes/val/image --out masks\n"
      "`anaphase COMMAND --help` explains a command.");
  apps::add_train(app);
  apps::add_segment(app);
  apps::add_evaluate(app);
  apps::add_report(app);
  apps::add_synth(app);
  apps::add_slices(app);
  apps::add_bench(app);
  apps::add_info(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& end) {
    return end.get_exit_code();
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "anaphase: {}\n", apps::usage_error(app, error));
    return wrong_usage;
  }
  if (app.get_subcommands().empty()) {
    fmt::print("{}", app.help());
    return wrong_usage;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file beyond the limit is an error of write(), like a full disk
  return run(argc, argv);
} catch (const anaphase::Error& error) {
  fmt::print(stderr, "anaphase: {}\n", error.what());
  return failed;
} catch (const std::bad_alloc&) {
  fmt::print(stderr, "anaphase: out of memory: use a smaller batch or image size\n");
  return failed;
} catch (const std::exception& error) {
  fmt::print(stderr, "anaphase: internal error: {}; please report it\n", error.what());
  return failed;
}
