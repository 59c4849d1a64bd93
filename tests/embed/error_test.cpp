// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstring>

#include "kernels/common/version.hpp"
#include "tests/embed/model_files.hpp"
#include "tests/engine/devices.hpp"

namespace anaphase::test {
namespace {

using io::testing::read_bytes;
using io::testing::write_bytes;

struct Outcome {
  anaphase_status status;
  std::string error;
};

bool contains(const Outcome& outcome, const std::string& part) {
  return outcome.error.find(part) != std::string::npos;
}

/// Opens and closes; the handle has to be null after an error, and the sentence empty otherwise.
Outcome open(const char* path, const char* device = "cpu") {
  char error[ANAPHASE_ERROR_SIZE] = "not written";
  anaphase_model* model = reinterpret_cast<anaphase_model*>(error);
  const anaphase_status status = anaphase_model_open(path, device, &model, error, sizeof error);
  CHECK((model == nullptr) == (status != ANAPHASE_OK));
  CHECK((error[0] == 0) == (status == ANAPHASE_OK));
  anaphase_model_close(model);
  return {status, error};
}

Outcome create(const ModelHandle& model, int batch, int height, int width,
               const char* options = nullptr) {
  char error[ANAPHASE_ERROR_SIZE] = "not written";
  anaphase_session* session = reinterpret_cast<anaphase_session*>(error);
  const anaphase_status status = anaphase_session_create(model.get(), batch, height, width, options,
                                                         &session, error, sizeof error);
  CHECK((session == nullptr) == (status != ANAPHASE_OK));
  CHECK((error[0] == 0) == (status == ANAPHASE_OK));
  anaphase_session_destroy(session);
  return {status, error};
}

}  // namespace

TEST_CASE("versions and names of statuses") {
  CHECK(std::string(anaphase_version()) == version);
  CHECK(std::string(anaphase_version()) == fmt::format("{}.{}.{}", ANAPHASE_VERSION_MAJOR,
                                                       ANAPHASE_VERSION_MINOR,
                                                       ANAPHASE_VERSION_PATCH));
  CHECK(std::string(anaphase_status_name(ANAPHASE_OK)) == "ANAPHASE_OK");
  CHECK(std::string(anaphase_status_name(ANAPHASE_FAILED)) == "ANAPHASE_FAILED");
  CHECK(anaphase_status_name(static_cast<anaphase_status>(15)) != nullptr);
}

TEST_CASE("null pointers") {
  ModelFiles files;
  const std::string path = files.add(small_config());
  char error[ANAPHASE_ERROR_SIZE];
  CHECK(open(nullptr).status == ANAPHASE_INVALID_ARGUMENT);
  CHECK(anaphase_model_open(path.c_str(), "cpu", nullptr, error, sizeof error) ==
        ANAPHASE_INVALID_ARGUMENT);
  CHECK(std::string(error) == "model is a null pointer: give an address");
  anaphase_model* none = nullptr;
  CHECK(anaphase_model_open(nullptr, "cpu", &none, nullptr, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(anaphase_model_open(nullptr, "cpu", &none, error, 0) == ANAPHASE_INVALID_ARGUMENT);

  CHECK(create(nullptr, 1, 16, 16).status == ANAPHASE_INVALID_ARGUMENT);
  const ModelHandle model = open_model(path);
  CHECK(anaphase_session_create(model.get(), 1, 16, 16, nullptr, nullptr, error, sizeof error) ==
        ANAPHASE_INVALID_ARGUMENT);
  CHECK(anaphase_model_channels(nullptr) == 0);
  CHECK(anaphase_model_classes(nullptr) == 0);
  CHECK(anaphase_model_size(nullptr) == 0);
  CHECK(anaphase_model_size_multiple(nullptr) == 0);
  CHECK(anaphase_model_device(nullptr) == nullptr);
  anaphase_model_close(nullptr);
  anaphase_session_destroy(nullptr);

  const SessionHandle session = create_session(model, 1, 16, 16);
  std::vector<std::uint8_t> pixels(16 * 16 * 3), mask(16 * 16);
  std::vector<float> floats(16 * 16 * 2);
  CHECK(anaphase_run_mask(nullptr, pixels.data(), 0, 0, mask.data(), 0, 0) ==
        ANAPHASE_INVALID_ARGUMENT);
  CHECK(std::strlen(anaphase_session_error(nullptr)) > 0);
  const auto refused = [&](anaphase_status status, const std::string& what) {
    CHECK(status == ANAPHASE_INVALID_ARGUMENT);
    CHECK(anaphase_session_error(session.get()) == what + " is a null pointer: give an address");
  };
  refused(anaphase_run_mask(session.get(), nullptr, 0, 0, mask.data(), 0, 0), "images");
  refused(anaphase_run_mask(session.get(), pixels.data(), 0, 0, nullptr, 0, 0), "masks");
  refused(anaphase_run_probabilities(session.get(), nullptr, 0, 0, floats.data(), 0, 0), "images");
  refused(anaphase_run_probabilities(session.get(), pixels.data(), 0, 0, nullptr, 0, 0),
          "probabilities");
  refused(anaphase_run_mask_async(session.get(), nullptr, 0, 0, mask.data(), 0, 0, nullptr),
          "images");
  CHECK(anaphase_run_mask(session.get(), pixels.data(), 0, 0, mask.data(), 0, 0) == ANAPHASE_OK);
  CHECK(std::string(anaphase_session_error(session.get())).empty());
}

TEST_CASE("a sentence is cut to the memory there is for it") {
  char error[9] = "xxxxxxxx";
  anaphase_model* model = nullptr;
  CHECK(anaphase_model_open(nullptr, "cpu", &model, error, 5) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(std::string(error) == "path");
  CHECK(std::string(error + 5) == "xxx");
}

TEST_CASE("a device's options are checked") {
  ModelFiles files;
  const std::string path = files.add(small_config());
  CHECK(open(path.c_str(), "cpu,precision=f32").status == ANAPHASE_OK);
  for (const char* device : {"cpu,", "cpu,precision", "cpu,precision=", "cpu,precision=f16",
                             "cpu,precision=f32,", "cpu,speed=high", "cpu,,precision=f32"}) {
    CAPTURE(device);
    CHECK(open(path.c_str(), device).status == ANAPHASE_INVALID_ARGUMENT);
  }
  CHECK(open(path.c_str(), ",precision=f32").status == ANAPHASE_NO_DEVICE);
}

TEST_CASE("files that are missing, no models, truncated, or of another version") {
  ModelFiles files;
  const std::string good = files.add(small_config()), bad = files.path("bad.safetensors");
  CHECK(open(good.c_str()).status == ANAPHASE_OK);
  const Outcome missing = open(files.path("nowhere").c_str());
  CHECK(missing.status == ANAPHASE_FILE_NOT_FOUND);
  CHECK(contains(missing, "nowhere"));
  CHECK(open("").status == ANAPHASE_FILE_NOT_FOUND);
  CHECK(open("/").status == ANAPHASE_BAD_FILE);  // a folder that holds no model

  const std::string bytes = read_bytes(good);
  const std::size_t header = 8 + *reinterpret_cast<const std::uint64_t*>(bytes.data());
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{100}, header - 1, header,
        header + 1, bytes.size() / 2, bytes.size() - 1}) {
    CAPTURE(length);
    write_bytes(bad, std::string_view(bytes).substr(0, length));
    const Outcome truncated = open(bad.c_str());
    CHECK(truncated.status == ANAPHASE_BAD_FILE);
    CHECK(contains(truncated, "bad.safetensors"));
  }
  write_bytes(bad, bytes + "x");
  CHECK(open(bad.c_str()).status == ANAPHASE_BAD_FILE);
  write_bytes(bad, std::string(5000, 'x'));
  CHECK(open(bad.c_str()).status == ANAPHASE_BAD_FILE);

  io::SafeTensors content = io::read_safetensors(good);
  content.metadata["format_version"] = "2";
  io::write_safetensors(bad, content);
  const Outcome newer = open(bad.c_str());
  CHECK(newer.status == ANAPHASE_WRONG_VERSION);
  CHECK(contains(newer, "format version 2"));

  content = io::read_safetensors(good);
  content.tensors.erase(content.tensors.begin());
  io::write_safetensors(bad, content);
  CHECK(open(bad.c_str()).status == ANAPHASE_BAD_FILE);
}

TEST_CASE("a file that is cut while it is open: a status for each session, then and later") {
  ModelFiles files;
  const std::string path = files.add(small_config());
  const ModelHandle model = open_model(path);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 4);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Outcome outcome = create(model, 1, 16, 16);
    CHECK(outcome.status == ANAPHASE_BAD_FILE);
    CHECK(contains(outcome, path));
  }
}

TEST_CASE("devices that are not there") {
  ModelFiles files;
  const std::string path = files.add(small_config());
  CHECK(open(path.c_str(), "tpu").status == ANAPHASE_NO_DEVICE);
  CHECK(open(path.c_str(), "cuda:1000").status == ANAPHASE_NO_DEVICE);
  CHECK(open(path.c_str(), nullptr).status == ANAPHASE_OK);
}

TEST_CASE("sizes and options that the model cannot take") {
  ModelFiles files;
  const ModelHandle unet = open_model(files.add(small_config()));
  const ModelHandle plain = open_model(files.add(small_config("plain")));
  CHECK(create(unet, 1, 8, 24).status == ANAPHASE_OK);
  CHECK(create(plain, 1, 16, 16).status == ANAPHASE_OK);
  const Outcome height = create(plain, 1, 8, 16);
  CHECK(height.status == ANAPHASE_INVALID_ARGUMENT);
  CHECK(contains(height, "height 8 does not fit the model's network: use a multiple of 16"));
  struct Size {
    int batch, height, width;
  };
  for (const Size s :
       {Size{0, 16, 16}, Size{-1, 16, 16}, Size{4097, 16, 16}, Size{1, 0, 16}, Size{1, 16, -8},
        Size{1, 16, 20}, Size{1, 1 << 30, 16}, Size{4096, 32768, 32768}}) {
    CAPTURE(s.width);
    CHECK(create(unet, s.batch, s.height, s.width).status == ANAPHASE_INVALID_ARGUMENT);
  }
  for (const char* options :
       {"steps", "steps=", "steps=0", "steps=x", "steps=100000", "sampler=euler", "with=nobody",
        "draws=0", "timestep=1000", "colour=red", "seed=\u0263", "=", ",", "steps=2,,draws=2",
        "threads=-1", "threads=2x", "threads=", "threads=1000000", "steps=2 draws=2"}) {
    CAPTURE(options);
    CHECK(create(unet, 1, 16, 16, options).status == ANAPHASE_INVALID_ARGUMENT);
  }
  CHECK(contains(create(unet, 1, 16, 16, "step=2"), "steps"));
  CHECK(create(unet, 1, 16, 16, "steps=2,draws=2,threads=0").status == ANAPHASE_OK);
}

TEST_CASE("strides that are too small, or not of floats") {
  ModelFiles files;
  const SessionHandle session = create_session(open_model(files.add(small_config())), 2, 16, 16);
  std::vector<std::uint8_t> pixels(4096), mask(2048);
  std::vector<float> floats(4096);
  const auto masks = [&](std::size_t in_row, std::size_t in, std::size_t out_row, std::size_t out) {
    return anaphase_run_mask(session.get(), pixels.data(), in_row, in, mask.data(), out_row, out);
  };
  CHECK(masks(47, 0, 0, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(std::string(anaphase_session_error(session.get())).find("row stride 47 of the images") ==
        0);
  CHECK(masks(48, 16 * 48 - 1, 0, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(masks(50, 15 * 50 + 47, 0, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(masks(0, 0, 15, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(masks(0, 0, 16, 255) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(masks(static_cast<std::size_t>(-1), 0, 0, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(masks(0, static_cast<std::size_t>(-1), 0, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(masks(50, 15 * 50 + 48, 16, 256) == ANAPHASE_OK);

  const auto probabilities = [&](std::size_t offset, std::size_t row, std::size_t stride) {
    return anaphase_run_probabilities(
        session.get(), pixels.data(), 0, 0,
        reinterpret_cast<float*>(reinterpret_cast<char*>(floats.data()) + offset), row, stride);
  };
  CHECK(probabilities(0, 127, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(probabilities(0, 130, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(probabilities(0, 128, 2050) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(probabilities(2, 0, 0) == ANAPHASE_INVALID_ARGUMENT);
  CHECK(probabilities(4, 132, 15 * 132 + 128) == ANAPHASE_OK);
}

}  // namespace anaphase::test
