// SPDX-License-Identifier: Apache-2.0
#include "io/synthetic.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>

#include "apps/commands.hpp"

namespace anaphase::apps {
namespace {

struct SynthOptions {
  std::filesystem::path out;
  std::string kind = "glands";
  io::SyntheticDataset dataset;
};

}  // namespace

void add_synth(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "synth",
      "Make up a data set to try things on: pictures and their masks, as "
      "DIR/{train,val}/{image,mask}/synth_0001.png, … The last fifth is for validation.");
  const auto options = std::make_shared<SynthOptions>();
  io::SyntheticDataset& dataset = options->dataset;
  command->add_option("--out", options->out, "Folder to write, new or empty")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--kind", options->kind,
                   "glands: stained tissue in colour; nuclei: grey fluorescence")
      ->check(CLI::IsMember({"glands", "nuclei"}))
      ->capture_default_str();
  command->add_option("--count", dataset.count, "Number of pictures, at least 2")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--size", dataset.size, "Width and height of a picture in pixels")
      ->type_name("PX")
      ->capture_default_str();
  command
      ->add_option("--seed", dataset.seed,
                   "Which pictures: the same seed gives the same pictures on every machine")
      ->type_name("S")
      ->capture_default_str();
  command->callback([options] {
    io::SyntheticDataset& wanted = options->dataset;
    wanted.kind = options->kind == "glands" ? io::SyntheticKind::glands : io::SyntheticKind::nuclei;
    const auto [train, val] = io::write_synthetic_dataset(options->out, wanted);
    fmt::print("made {} pictures of {} ({} train, {} val), {} x {} pixels, in {}\n", train + val,
               options->kind, train, val, wanted.size, wanted.size, options->out.string());
  });
}

}  // namespace anaphase::apps
