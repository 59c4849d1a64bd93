// SPDX-License-Identifier: Apache-2.0
#include "io/report.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "apps/commands.hpp"

namespace anaphase::apps {

void add_report(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "report",
      "Write the report of a run: one HTML page, RUN/report.html, with curves, pictures, scores "
      "and "
      "timings, to be opened in a browser. It needs no other file and no network.");
  const auto run = std::make_shared<std::filesystem::path>();
  command->add_option("--run", *run, "Folder of a training run (the --out of `anaphase train`)")
      ->required()
      ->type_name("RUN");
  command->callback([run] {
    io::write_report(*run);
    fmt::print("wrote {}\n", (*run / "report.html").string());
  });
}

}  // namespace anaphase::apps
