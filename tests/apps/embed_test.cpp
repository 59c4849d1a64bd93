// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "apps/embed/anaphase.h"
#include "io/image.hpp"
#include "tests/apps/command.hpp"

using namespace anaphase::apps::testing;
namespace io = anaphase::io;

TEST_CASE("the C API makes the masks that the program makes") {
  const TemporaryFolder folder;
  const std::string data = (folder / "data").string(), run = (folder / "run").string(),
                    masks = (folder / "masks").string();
  REQUIRE(run_program(fmt::format("synth --out '{}' --count 10 --size 16", data)).code == 0);
  const Outcome trained =
      run_program(fmt::format("train --data '{}' --out '{}' --device cpu {}", data, run, quick));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  const std::string images = data + "/val/image";
  const Outcome segmented = run_program(
      fmt::format("segment --model '{}' --device cpu --in '{}' --out '{}'", run, images, masks));
  REQUIRE_MESSAGE(segmented.code == 0, segmented.err);

  char error[ANAPHASE_ERROR_SIZE];
  anaphase_model* model = nullptr;
  anaphase_session* session = nullptr;
  REQUIRE(anaphase_model_open(run.c_str(), "cpu", &model, error, sizeof error) == ANAPHASE_OK);
  REQUIRE(anaphase_session_create(model, 1, 16, 16, nullptr, &session, error, sizeof error) ==
          ANAPHASE_OK);
  const std::vector<std::string> names = files_in(masks);
  REQUIRE(!names.empty());
  for (const std::string& name : names) {
    const io::Image image = io::convert_channels(
        io::read_image(std::filesystem::path(images) / name), anaphase_model_channels(model));
    REQUIRE(image.width == 16);
    REQUIRE(image.height == 16);
    std::vector<std::uint8_t> pixels, mask(16 * 16);
    for (const float value : image.pixels)
      pixels.push_back(static_cast<std::uint8_t>(std::lround(255 * value)));
    REQUIRE(anaphase_run_mask(session, pixels.data(), 0, 0, mask.data(), 0, 0) == ANAPHASE_OK);
    const std::vector<std::int32_t> expected =
        io::read_mask(std::filesystem::path(masks) / name, 2).labels;
    CHECK(std::vector<std::int32_t>(mask.begin(), mask.end()) == expected);
  }
  anaphase_session_destroy(session);
  anaphase_model_close(model);
}
