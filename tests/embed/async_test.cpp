// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "kernels/common/memory.hpp"
#include "tests/embed/model_files.hpp"
#include "tests/engine/devices.hpp"

namespace anaphase::test {
namespace {

constexpr int size = 8, channels = 3, classes = 2, batch = 2;
constexpr std::size_t pixel_count = std::size_t{batch} * size * size;

}  // namespace

TEST_CASE("runs on a caller's stream and in its order make what runs on the host's memory make") {
  ModelFiles files;
  const std::string path = files.add(one_network(), small_facts(channels, classes));
  for (const engine::Device& gpu : gpus()) {
    const std::string name = gpu.name();
    CAPTURE(name);
    const ModelHandle model = open_model(path, name);
    const SessionHandle session = create_session(model, batch, size, size);
    const engine::Device other = gpu.with_own_queue();
    const kernels::Stream stream = other.stream();
    const std::shared_ptr<std::byte> images = engine::allocate(other, pixel_count * channels),
                                     masks = engine::allocate(other, pixel_count),
                                     floats = engine::allocate(other, 4 * pixel_count * classes);
    for (unsigned seed = 0; seed < 2; ++seed) {
      const std::vector<std::uint8_t> pixels = some_pixels(pixel_count * channels, seed);
      std::vector<std::uint8_t> mask(pixel_count), mask_here(pixel_count);
      std::vector<float> probabilities(pixel_count * classes), probabilities_here = probabilities;
      // The images arrive by the same stream, and the host waits for nothing in between.
      engine::copy_to_device(other, images.get(), pixels.data(), pixels.size());
      const auto* from = reinterpret_cast<const std::uint8_t*>(images.get());
      REQUIRE(anaphase_run_mask_async(session.get(), from, 0, 0,
                                      reinterpret_cast<std::uint8_t*>(masks.get()), 0, 0,
                                      stream.handle) == ANAPHASE_OK);
      REQUIRE(anaphase_run_probabilities_async(session.get(), from, 0, 0,
                                               reinterpret_cast<float*>(floats.get()), 0, 0,
                                               stream.handle) == ANAPHASE_OK);
      kernels::copy_to_host(stream, mask.data(), masks.get(), mask.size());
      kernels::copy_to_host(stream, probabilities.data(), floats.get(), 4 * probabilities.size());
      REQUIRE(anaphase_run_mask(session.get(), pixels.data(), 0, 0, mask_here.data(), 0, 0) ==
              ANAPHASE_OK);
      REQUIRE(anaphase_run_probabilities(session.get(), pixels.data(), 0, 0,
                                         probabilities_here.data(), 0, 0) == ANAPHASE_OK);
      CHECK(mask == mask_here);
      CHECK(probabilities == probabilities_here);
    }
  }
}

TEST_CASE("the processor has no streams") {
  ModelFiles files;
  const ModelHandle model = open_model(files.add(small_config()));
  const SessionHandle session = create_session(model, 1, size, size);
  std::vector<std::uint8_t> pixels(size * size * channels), mask(size * size);
  std::vector<float> probabilities(mask.size() * classes);
  CHECK(anaphase_run_mask_async(session.get(), pixels.data(), 0, 0, mask.data(), 0, 0, nullptr) ==
        ANAPHASE_UNSUPPORTED);
  CHECK(std::string(anaphase_session_error(session.get())).find("_async") != std::string::npos);
  CHECK(anaphase_run_probabilities_async(session.get(), pixels.data(), 0, 0, probabilities.data(),
                                         0, 0, nullptr) == ANAPHASE_UNSUPPORTED);
}

}  // namespace anaphase::test
