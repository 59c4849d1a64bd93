// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "io/image.hpp"
#include "tests/apps/command.hpp"

using namespace anaphase::apps::testing;
using anaphase::io::testing::read_bytes;
namespace fs = std::filesystem;

TEST_CASE("from a folder of images to masks, scores and a report") {
  const TemporaryFolder folder;
  const std::string data = (folder / "data").string(), run = (folder / "run").string(),
                    masks = (folder / "masks").string();
  REQUIRE(run_program(fmt::format("synth --out '{}' --count 16 --size 40", data)).code == 0);

  const Outcome trained = run_program(
      fmt::format("train --data '{}' --out '{}' {} --size 32 --epochs 2", data, run, quick));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  CHECK(contains(trained.err, "pretrain "));
  CHECK(contains(trained.err, "epoch 2/2"));
  CHECK(!contains(trained.err, "\r"));
  CHECK(contains(trained.out, fmt::format("anaphase segment --model {}", run)));
  for (const char* file : {"config.toml", "manifest.json", "metrics.csv", "metrics.jsonl",
                           "checkpoint.safetensors", "scores.json"}) {
    CAPTURE(file);
    CHECK(fs::file_size(fs::path(run) / file) > 0);
  }
  const std::string report = read_bytes(fs::path(run) / "report.html");
  CHECK(contains(report, "<svg"));
  CHECK(contains(report, "</html>"));
  CHECK(contains(read_bytes(fs::path(run) / "config.toml"), fs::absolute(data).string()));

  const Outcome segmented = run_program(fmt::format(
      "segment --model '{}' --in '{}/val/image' --out '{}' --probabilities", run, data, masks));
  REQUIRE_MESSAGE(segmented.code == 0, segmented.err);
  CHECK(files_in(masks).size() == 6);
  for (const char* name : {"synth_0014", "synth_0015", "synth_0016"}) {
    const auto mask = anaphase::io::read_mask_values(fs::path(masks) / fmt::format("{}.png", name));
    const auto one =
        anaphase::io::read_mask_values(fs::path(masks) / fmt::format("{}_class1.png", name));
    CHECK(mask.width == 40);
    CHECK(mask.height == 40);
    REQUIRE(one.labels.size() == mask.labels.size());
    int wrong = 0;  // 255 where class 1 is the likelier one, 0 elsewhere
    for (std::size_t i = 0; i < mask.labels.size(); ++i) {
      if (one.labels[i] >= 129) wrong += mask.labels[i] != 255;
      if (one.labels[i] <= 126) wrong += mask.labels[i] != 0;
    }
    CHECK(wrong == 0);
  }

  const Outcome printed = run_program(
      fmt::format("evaluate --model '{}/model.safetensors' --data '{}' --json -", run, data));
  REQUIRE_MESSAGE(printed.code == 0, printed.err);
  const auto scores = nlohmann::json::parse(printed.out);
  CHECK(scores == nlohmann::json::parse(read_bytes(fs::path(run) / "scores.json")));
  CHECK(scores.at("n") == 3);
  CHECK(scores.at("per_image").size() == 3);
  for (const char* score : {"dice", "jaccard"}) {
    CHECK(scores.at(score) > 0);
    CHECK(scores.at(score) <= 1);
  }
  const std::string file = (folder / "teacher.json").string();
  const Outcome teacher = run_program(fmt::format(
      "evaluate --model '{}' --data '{}' --with teacher --steps 3 --draws 2 --json '{}'", run, data,
      file));
  CHECK_MESSAGE(teacher.code == 0, teacher.err);
  CHECK(contains(teacher.out, "Dice"));
  CHECK(nlohmann::json::parse(read_bytes(file)).at("n") == 3);

  const Outcome info = run_program(fmt::format("info --model '{}'", run));
  CHECK(info.code == 0);
  CHECK(contains(info.out, "2 classes, 3 channels"));
  CHECK(contains(info.out, "size = 32"));
}

TEST_CASE("later sources of configuration win over earlier ones") {
  const TemporaryFolder folder;
  make_data(folder / "data", 5, 16);
  anaphase::io::testing::write_bytes(
      folder / "my.toml",
      "[network]\nwidth = 8\narchitecture = \"plain\"\n[training]\nepochs = 9\nbatch = 3\n"
      "method = \"supervised\"\n[data]\nlabels = \"75%\"\nsize = 16\n");
  const Outcome outcome = run_program(
      fmt::format("train --data '{0}/data' --out '{0}/run' --preset paper --config '{0}/my.toml' "
                  "--set training.epochs=8 --set training.batch=2 --epochs 1 --labels 2",
                  folder.path().string()));
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const std::string config = read_bytes(folder / "run/config.toml");
  CHECK(contains(config, "width = 8\n"));   // the file over the preset
  CHECK(contains(config, "batch = 2\n"));   // --set over the file
  CHECK(contains(config, "epochs = 1\n"));  // the option over --set
  CHECK(contains(config, "labels = '2'\n"));
}
