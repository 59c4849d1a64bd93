// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "kernels/pixels/pixels.hpp"
#include "models/predictor.hpp"
#include "tests/embed/model_files.hpp"
#include "tests/engine/counted_new.hpp"
#include "tests/engine/devices.hpp"

namespace anaphase::test {
namespace {

using engine::DType;
using models::InferenceOptions;

/// What the engine makes of the pixels without the C API.
std::vector<float> expected(const std::string& path, const engine::Device& device,
                            const InferenceOptions& options, int batch, int height, int width,
                            const std::vector<std::uint8_t>& pixels) {
  models::Model model = models::Model::load(device, path);
  const models::DataFacts& facts = model.facts();
  models::Predictor predictor(model, options, batch, height, width);
  const auto of_channels = [&](const std::vector<float>& values) {
    const engine::Tensor tensor = engine::make_tensor(device, {facts.channels}, DType::f32);
    engine::upload(tensor, values);
    return tensor;
  };
  const engine::Tensor mean = of_channels(facts.mean), std = of_channels(facts.std);
  const std::shared_ptr<std::byte> bytes = engine::allocate(device, pixels.size());
  engine::copy_to_device(device, bytes.get(), pixels.data(), pixels.size());
  const std::int64_t row = std::int64_t{width} * facts.channels;
  kernels::launch(device.stream(),
                  kernels::NormalisePixels{.n = batch,
                                           .h = height,
                                           .w = width,
                                           .c = facts.channels,
                                           .type = model.activation_type(),
                                           .row_stride = row,
                                           .image_stride = height * row,
                                           .x = reinterpret_cast<const std::uint8_t*>(bytes.get()),
                                           .mean = mean.data(),
                                           .std = std.data(),
                                           .y = predictor.images().data()});
  predictor.run();
  return engine::download(predictor.mean());
}

std::vector<std::uint8_t> largest(const std::vector<float>& probabilities, int classes) {
  const std::vector<std::int32_t> labels = models::largest_class(probabilities, classes);
  return {labels.begin(), labels.end()};
}

/// Rows of a batch with gaps of bytes 0xAB after each row and each image.
struct Gapped {
  std::size_t rows, row_bytes, row_stride, stride;
  std::vector<std::uint8_t> bytes;

  Gapped(int batch, std::size_t rows_, std::size_t row_bytes_, std::size_t row_gap,
         std::size_t image_gap)
      : rows(rows_),
        row_bytes(row_bytes_),
        row_stride(row_bytes + row_gap),
        stride(rows * row_stride + image_gap),
        bytes(batch * stride, 0xAB) {}

  template <class T>
  void fill(const std::vector<T>& dense) {
    for_each_row(dense.size() * sizeof(T), [&](std::size_t at, std::size_t from) {
      std::memcpy(&bytes[at], reinterpret_cast<const std::uint8_t*>(dense.data()) + from,
                  row_bytes);
    });
  }
  template <class Visit>
  void for_each_row(std::size_t dense_bytes, Visit&& visit) const {
    for (std::size_t row = 0; row < dense_bytes / row_bytes; ++row)
      visit(row / rows * stride + row % rows * row_stride, row * row_bytes);
  }
};

models::Config config_with(const std::string& architecture, const std::string& precision) {
  models::Config config = small_config(architecture);
  config.training.precision = precision;
  return config;
}

}  // namespace

TEST_CASE("a session makes what the engine makes, with any strides") {
  ModelFiles files;
  const std::string one = files.add(one_network(), small_facts(3, 4));
  const std::string three = files.add(small_config(), small_facts(3, 4));
  const std::string grey = files.add(config_with("plain", "f32"), small_facts(1, 2));
  struct Case {
    std::string path;
    int channels, classes, batch, height, width;
    const char* options;
    InferenceOptions inference;
  };
  for (const engine::Device& device : devices()) {
    const std::string name = device.name();
    CAPTURE(name);
    std::vector<Case> cases{{one, 3, 4, 2, 8, 16, nullptr, {}}};  // a GPU may be the executor
    if (device == engine::Device::cpu()) {
      cases.push_back({three, 3, 4, 2, 16, 24, nullptr, {}});
      cases.push_back({grey, 1, 2, 3, 32, 16, "", {}});
      cases.push_back({three,
                       3,
                       4,
                       1,
                       8,
                       8,
                       "steps=3,sampler=dpm,draws=2,seed=7",
                       {.steps = 3, .sampler = "dpm", .draws = 2, .seed = 7}});
      cases.push_back({three, 3, 4, 1, 16, 16, "with=teacher,threads=1", {.with = "teacher"}});
    }
    for (const Case& c : cases) {
      CAPTURE(c.options);
      const ModelHandle model = open_model(c.path, name);
      const SessionHandle session = create_session(model, c.batch, c.height, c.width, c.options);
      const auto count = static_cast<std::size_t>(c.batch) * c.height * c.width;
      const std::vector<std::uint8_t> pixels = some_pixels(count * c.channels);
      const std::vector<float> probabilities =
          expected(c.path, device, c.inference, c.batch, c.height, c.width, pixels);
      const std::vector<std::uint8_t> mask = largest(probabilities, c.classes);
      REQUIRE(*std::max_element(mask.begin(), mask.end()) > 0);

      std::vector<std::uint8_t> dense_mask(count);
      std::vector<float> dense_probabilities(count * c.classes);
      REQUIRE(anaphase_run_mask(session.get(), pixels.data(), 0, 0, dense_mask.data(), 0, 0) ==
              ANAPHASE_OK);
      REQUIRE(anaphase_run_probabilities(session.get(), pixels.data(), 0, 0,
                                         dense_probabilities.data(), 0, 0) == ANAPHASE_OK);
      CHECK(dense_mask == mask);
      CHECK(dense_probabilities == probabilities);

      Gapped in(c.batch, c.height, c.width * c.channels, 5, 3);
      in.fill(pixels);
      Gapped masks(c.batch, c.height, c.width, 7, 1), expected_masks = masks;
      expected_masks.fill(mask);
      REQUIRE(anaphase_run_mask(session.get(), in.bytes.data(), in.row_stride, in.stride,
                                masks.bytes.data(), masks.row_stride, masks.stride) == ANAPHASE_OK);
      CHECK(masks.bytes == expected_masks.bytes);
      Gapped floats(c.batch, c.height, sizeof(float) * c.width * c.classes, 8, 4),
          expected_floats = floats;
      expected_floats.fill(probabilities);
      REQUIRE(anaphase_run_probabilities(session.get(), in.bytes.data(), in.row_stride, in.stride,
                                         reinterpret_cast<float*>(floats.bytes.data()),
                                         floats.row_stride, floats.stride) == ANAPHASE_OK);
      CHECK(floats.bytes == expected_floats.bytes);
    }
  }
}

TEST_CASE("bf16 models run too") {
  if (activation_types(engine::Device::cpu()).back() != engine::DType::bf16) return;
  ModelFiles files;
  const std::string path = files.add(config_with("unet", "bf16"));
  const std::vector<std::uint8_t> pixels = some_pixels(16 * 16 * 3);
  const SessionHandle session = create_session(open_model(path), 1, 16, 16);
  std::vector<float> probabilities(16 * 16 * 2);
  REQUIRE(anaphase_run_probabilities(session.get(), pixels.data(), 0, 0, probabilities.data(), 0,
                                     0) == ANAPHASE_OK);
  CHECK(probabilities == expected(path, engine::Device::cpu(), {}, 1, 16, 16, pixels));
}

TEST_CASE("a model trained in one precision runs in another") {
  ModelFiles files;
  const std::string half = files.add(config_with("unet", "bf16"));
  const std::string single = files.add(config_with("unet", "f32"));  // with the same weights
  const std::vector<std::uint8_t> pixels = some_pixels(16 * 16 * 3);
  const SessionHandle session = create_session(open_model(half, "cpu,precision=f32"), 1, 16, 16);
  std::vector<float> probabilities(16 * 16 * 2);
  REQUIRE(anaphase_run_probabilities(session.get(), pixels.data(), 0, 0, probabilities.data(), 0,
                                     0) == ANAPHASE_OK);
  CHECK(probabilities == expected(single, engine::Device::cpu(), {}, 1, 16, 16, pixels));
}

TEST_CASE("a mask may lie in the memory of its image, and a model is closed before its sessions") {
  ModelFiles files;
  ModelHandle model = open_model(files.add(small_config()));
  const SessionHandle session = create_session(model, 1, 16, 16);
  model.reset();
  std::vector<std::uint8_t> pixels = some_pixels(16 * 16 * 3), mask(16 * 16);
  REQUIRE(anaphase_run_mask(session.get(), pixels.data(), 0, 0, mask.data(), 0, 0) == ANAPHASE_OK);
  REQUIRE(anaphase_run_mask(session.get(), pixels.data(), 0, 0, pixels.data(), 0, 0) ==
          ANAPHASE_OK);
  pixels.resize(mask.size());
  CHECK(pixels == mask);
}

TEST_CASE("a model says what images it takes") {
  ModelFiles files;
  const ModelHandle unet = open_model(files.add(small_config(), small_facts(3, 4)));
  CHECK(anaphase_model_channels(unet.get()) == 3);
  CHECK(anaphase_model_classes(unet.get()) == 4);
  CHECK(anaphase_model_size(unet.get()) == 16);
  CHECK(anaphase_model_size_multiple(unet.get()) == 8);
  CHECK(std::string(anaphase_model_device(unet.get())) == "cpu");
  const ModelHandle plain = open_model(files.add(small_config("plain"), small_facts(1)));
  CHECK(anaphase_model_channels(plain.get()) == 1);
  CHECK(anaphase_model_size_multiple(plain.get()) == 16);
}

TEST_CASE("a run on the processor allocates nothing") {
  ModelFiles files;
  const ModelHandle model = open_model(files.add(small_config()));
  for (const char* options : {"", "steps=3,sampler=dpm,draws=2"}) {
    CAPTURE(options);
    const SessionHandle session = create_session(model, 2, 16, 16, options);
    const std::vector<std::uint8_t> pixels = some_pixels(2 * 16 * 16 * 3);
    std::vector<std::uint8_t> masks(2 * 16 * 16);
    std::vector<float> probabilities(2 * 16 * 16 * 2);
    const auto allocations = engine::memory_use().allocations;
    const int news = news_in([&] {
      anaphase_run_mask(session.get(), pixels.data(), 0, 0, masks.data(), 0, 0);
      anaphase_run_probabilities(session.get(), pixels.data(), 0, 0, probabilities.data(), 0, 0);
    });
    CHECK(news == 0);
    CHECK(engine::memory_use().allocations == allocations);
    CHECK(std::string(anaphase_session_error(session.get())).empty());
  }
}

}  // namespace anaphase::test
