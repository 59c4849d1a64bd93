// SPDX-License-Identifier: Apache-2.0
#include "tests/embed/model_files.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace anaphase::test {

std::string ModelFiles::add(const models::Config& config, const models::DataFacts& facts) {
  const std::string file = path(fmt::format("{}.safetensors", count_++));
  // On the device that takes every precision.
  models::Model(engine::Device::reference(), config, facts).save(file);
  return file;
}

models::Config one_network() {
  models::Config config = small_config();
  config.training.method = "supervised";
  return config;
}

ModelHandle open_model(const std::string& path, const std::string& device) {
  char error[ANAPHASE_ERROR_SIZE] = "not written";
  anaphase_model* model = nullptr;
  const anaphase_status status =
      anaphase_model_open(path.c_str(), device.c_str(), &model, error, sizeof error);
  REQUIRE_MESSAGE(status == ANAPHASE_OK, error);
  REQUIRE(std::string(error).empty());
  return ModelHandle(model);
}

SessionHandle create_session(const ModelHandle& model, int batch, int height, int width,
                             const char* options) {
  char error[ANAPHASE_ERROR_SIZE] = "not written";
  anaphase_session* session = nullptr;
  const anaphase_status status = anaphase_session_create(model.get(), batch, height, width, options,
                                                         &session, error, sizeof error);
  REQUIRE_MESSAGE(status == ANAPHASE_OK, error);
  REQUIRE(std::string(error).empty());
  return SessionHandle(session);
}

std::vector<std::uint8_t> some_pixels(std::size_t count, unsigned seed) {
  std::vector<std::uint8_t> pixels(count);
  for (std::size_t i = 0; i < count; ++i)
    pixels[i] = static_cast<std::uint8_t>((i + 1) * (2654435761U + 2 * seed) >> 16);
  return pixels;
}

}  // namespace anaphase::test
