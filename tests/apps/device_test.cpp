// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "tests/apps/command.hpp"
#include "tests/engine/devices.hpp"
#include "tests/models/small_model.hpp"

using namespace anaphase::apps::testing;
namespace fs = std::filesystem;

TEST_CASE("info lists the devices, with the reason where CUDA cannot be used") {
  const Outcome info = run_program("info");
  CHECK(info.code == 0);
  CHECK(contains(info.out, "\n  cpu  "));
  CHECK(contains(info.out, "\n  cuda"));
}

TEST_CASE("a device that is unknown or not here is refused before a run is begun") {
  const TemporaryFolder folder;
  const std::string data = (folder / "data").string(), run = (folder / "run").string();
  make_data(folder / "data", 5, 16);
  const auto refused = [&](const std::string& device, const std::string& part) {
    check_one_line_error(run_program(fmt::format("train --data '{}' --out '{}' {} --device {}",
                                                 data, run, quick, device)),
                         part);
    CHECK(!fs::exists(run));
  };
  refused("gpu", "unknown device 'gpu': use auto, cpu, cuda, cuda:N or simt");
  refused("cuda:99", "no CUDA ");  // kernels, device or device 99
}

// A build with CUDA kernels has to work where there is no driver, and to say what it does.
TEST_CASE("without a CUDA device auto is the processor, with a note in builds that know CUDA") {
  const bool has_cuda = !contains(run_program("info").out, "this build has no CUDA kernels");
  const TemporaryFolder folder;
  make_data(folder / "data", 5, 16);
  const Outcome outcome =
      run_program(fmt::format("train --data '{}' --out '{}' {}", (folder / "data").string(),
                              (folder / "run").string(), quick),
                  "CUDA_VISIBLE_DEVICES= ");
  CHECK_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(contains(outcome.err, "anaphase: on the CPU: no CUDA device: ") == has_cuda);
}

TEST_CASE("a model trained in bf16 works in f32 on every processor") {
  using namespace anaphase;
  const TemporaryFolder folder;
  make_data(folder / "data", 5, 16);
  models::Config config = test::small_config();
  config.training.precision = "bf16";
  const std::string file = (folder / "m.safetensors").string();
  models::Model(engine::Device::reference(), config, test::small_facts()).save(file);

  const Outcome info = run_program(fmt::format("info --model '{}'", file));
  CHECK_MESSAGE(info.code == 0, info.err);
  CHECK(contains(info.out, "precision = 'bf16'"));

  const auto segment = [&](const std::string& options) {
    return run_program(fmt::format("segment --model '{}' --in '{}' --out '{}' --device cpu {}",
                                   file, (folder / "data" / "val" / "image").string(),
                                   (folder / "masks").string(), options));
  };
  const Outcome in_f32 = segment("--precision f32");
  CHECK_MESSAGE(in_f32.code == 0, in_f32.err);
  CHECK(files_in(folder / "masks").size() == 1);
  const Outcome as_trained = segment("");
  if (test::activation_types(engine::Device::cpu()).back() == engine::DType::bf16)
    CHECK_MESSAGE(as_trained.code == 0, as_trained.err);
  else
    check_one_line_error(as_trained, "choose precision f32");
}
