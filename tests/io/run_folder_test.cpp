// SPDX-License-Identifier: Apache-2.0
#include "io/run_folder.hpp"

#include <doctest/doctest.h>
#include <cmath>
#include <limits>

#include "tests/io/temporary_folder.hpp"

using namespace anaphase::io;
using namespace anaphase::io::testing;
namespace fs = std::filesystem;

namespace {

SafeTensors checkpoint(const std::string& step) {
  return {{}, {{"step", step}}};
}

std::string step_of(const fs::path& path) {
  return SafeTensorsFile(path).metadata().at("step");
}

}  // namespace

TEST_CASE("a run is made once, in a folder of its own") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "runs/first", "seed = 1\n");
  CHECK(RunFolder::is_run(run.path()));
  CHECK(RunFolder::open(run.path()).read_config() == "seed = 1\n");
  CHECK(contains(error_of([&] { RunFolder::create(run.path(), ""); }), "--resume"));
  CHECK(run.read_config() == "seed = 1\n");

  write_bytes(folder / "photos/a.png", "x");
  CHECK(contains(error_of([&] { RunFolder::create(folder / "photos", ""); }), "not empty"));
  CHECK(contains(error_of([&] { RunFolder::create(folder / "photos/a.png", ""); }), "is a file"));
  CHECK(contains(error_of([&] { RunFolder::open(folder / "photos"); }), "holds no run"));
  fs::create_directory(folder / "empty");
  CHECK_NOTHROW(RunFolder::create(folder / "empty", ""));
}

TEST_CASE("metrics are appended, read back and tabulated") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "run", "");
  CHECK(run.metrics_size() == 0);
  CHECK(run.read_metrics().empty());
  run.append_metrics({{"epoch", std::int64_t{1}}, {"stage", "pretrain, first"}, {"loss", 0.1}});
  run.append_metrics({{"epoch", std::int64_t{2}},
                      {"dice", 0.75},
                      {"loss", std::numeric_limits<double>::quiet_NaN()}});
  CHECK(read_bytes(run.metrics_file()) ==
        "{\"epoch\":1,\"stage\":\"pretrain, first\",\"loss\":0.1}\n"
        "{\"epoch\":2,\"dice\":0.75,\"loss\":null}\n");
  const auto rows = run.read_metrics();
  REQUIRE(rows.size() == 2);
  CHECK(rows[0][0] == std::pair<std::string, MetricValue>("epoch", std::int64_t{1}));
  CHECK(rows[1][1] == std::pair<std::string, MetricValue>("dice", 0.75));
  CHECK(std::isnan(std::get<double>(rows[1][2].second)));
  run.write_metrics_table();
  CHECK(read_bytes(run.metrics_table()) ==
        "epoch,stage,loss,dice\n1,\"pretrain, first\",0.1,\n2,,,0.75\n");
}

TEST_CASE("lines after the checkpoint vanish on resuming") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "run", "");
  run.append_metrics({{"epoch", std::int64_t{1}}});
  const auto kept = run.metrics_size();
  const std::string before = read_bytes(run.metrics_file());
  run.append_metrics({{"epoch", std::int64_t{2}}});
  write_bytes(run.metrics_file(), read_bytes(run.metrics_file()) + "{\"epoch\":3,\"lo");
  CHECK(run.read_metrics().size() == 2);
  run.truncate_metrics(kept);
  CHECK(read_bytes(run.metrics_file()) == before);
  CHECK(contains(error_of([&] { run.truncate_metrics(kept + 1); }), "shorter"));
  run.truncate_metrics(0);
  CHECK(run.read_metrics().empty());

  write_bytes(run.metrics_file(), "{\"epoch\":1}\nnonsense\n{\"epoch\":2}\n");
  CHECK(contains(error_of([&] { run.read_metrics(); }), "line 2"));
}

TEST_CASE("the checkpoint before the last one is kept") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "run", "");
  run.save_checkpoint(checkpoint("1"));
  CHECK(step_of(run.checkpoint()) == "1");
  CHECK(!fs::exists(run.previous_checkpoint()));
  for (const char* step : {"2", "3", "4"}) {
    const std::string last = step_of(run.checkpoint());
    run.save_checkpoint(checkpoint(step));
    CHECK(step_of(run.checkpoint()) == step);
    CHECK(step_of(run.previous_checkpoint()) == last);
  }
  SafeTensors bad;
  bad.tensors["a"] = {"F32", {1}, {}};
  for (int attempt = 0; attempt < 2; ++attempt) {
    CHECK_THROWS_AS(run.save_checkpoint(bad), anaphase::Error);
    CHECK(step_of(run.checkpoint()) == "4");
    CHECK(step_of(run.previous_checkpoint()) == "4");
  }
  run.save_checkpoint(checkpoint("5"));
  CHECK(step_of(run.checkpoint()) == "5");
  CHECK(step_of(run.previous_checkpoint()) == "4");
  int files = 0;
  for ([[maybe_unused]] const auto& file : fs::directory_iterator(run.path())) ++files;
  CHECK(files == 3);  // config.toml and two checkpoints
}

TEST_CASE("opening sweeps up what a killed run left behind") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "run", "");
  write_bytes(run.path() / ".checkpoint.safetensors.77.partial", "half");
  RunFolder::open(run.path());
  CHECK(!fs::exists(run.path() / ".checkpoint.safetensors.77.partial"));
}
