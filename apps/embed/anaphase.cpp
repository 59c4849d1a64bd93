// SPDX-License-Identifier: Apache-2.0
#include "apps/embed/anaphase.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "apps/embed/session.hpp"
#include "kernels/common/error.hpp"
#include "kernels/common/version.hpp"

// The border: arguments are checked and exceptions become statuses here; the work is Session's.

#define ANAPHASE_TEXT_(x) #x
#define ANAPHASE_TEXT(x) ANAPHASE_TEXT_(x)
#define ANAPHASE_VERSION                \
  ANAPHASE_TEXT(ANAPHASE_VERSION_MAJOR) \
  "." ANAPHASE_TEXT(ANAPHASE_VERSION_MINOR) "." ANAPHASE_TEXT(ANAPHASE_VERSION_PATCH)
static_assert(std::string_view(ANAPHASE_VERSION) == anaphase::version);

struct anaphase_model {
  std::shared_ptr<anaphase::embed::SharedModel> shared;
};

struct anaphase_session {
  anaphase::embed::Session session;
  char error[ANAPHASE_ERROR_SIZE] = "";
};

namespace anaphase::embed {
namespace {

/// Throws this for what the caller has to change.
class Refusal : public Error {
 public:
  explicit Refusal(const std::string& sentence, anaphase_status status = ANAPHASE_INVALID_ARGUMENT)
      : Error(sentence), status_(status) {}
  anaphase_status status() const { return status_; }

 private:
  anaphase_status status_;
};

/// Where a function leaves its sentence.
struct Sentence {
  char* text;
  std::size_t size;

  void write(const char* sentence) const {
    if (text && size > 0) std::snprintf(text, size, "%s", sentence);
  }
};

/// Runs `action`; `status_of_error` stands for an Error that says no more than its sentence.
template <class Action>
anaphase_status guarded(Sentence sentence, anaphase_status status_of_error,
                        Action&& action) noexcept try {
  sentence.write("");
  std::forward<Action>(action)();
  return ANAPHASE_OK;
} catch (const Refusal& error) {
  sentence.write(error.what());
  return error.status();
} catch (const DeviceError& error) {
  sentence.write(error.what());
  return ANAPHASE_NO_DEVICE;
} catch (const OutOfMemory& error) {
  sentence.write(error.what());
  return ANAPHASE_OUT_OF_MEMORY;
} catch (const models::WrongVersion& error) {
  sentence.write(error.what());
  return ANAPHASE_WRONG_VERSION;
} catch (const io::Unreadable& error) {
  sentence.write(error.what());
  return ANAPHASE_BAD_FILE;
} catch (const Error& error) {
  sentence.write(error.what());
  return status_of_error;
} catch (const std::bad_alloc&) {
  sentence.write("out of memory: use a smaller batch or image size");
  return ANAPHASE_OUT_OF_MEMORY;
} catch (const std::exception& error) {
  sentence.write(error.what());
  return ANAPHASE_FAILED;
} catch (...) {
  sentence.write("an unknown failure: report it, please");
  return ANAPHASE_FAILED;
}

template <class T>
void require(const T* pointer, const char* what) {
  if (!pointer) throw Refusal(fmt::format("{} is a null pointer: give an address", what));
}

/// "cpu" or "cpu,precision=f32".
struct Place {
  engine::Device device;
  std::string precision;
};

Place parse_place(std::string_view text) {
  constexpr std::string_view key = "precision=";
  const std::size_t comma = text.find(',');
  Place place{engine::Device::parse(text.substr(0, comma)), {}};
  if (comma == std::string_view::npos) return place;
  const std::string_view option = text.substr(comma + 1);
  if (!option.starts_with(key) || option.size() == key.size())
    throw Refusal(fmt::format("device '{}' has an unknown option: write cpu,precision=f32", text));
  place.precision = option.substr(key.size());
  if (place.precision != "f32" && place.precision != "tf32" && place.precision != "bf16")
    throw Refusal(fmt::format("precision '{}' is unknown: use f32, tf32 or bf16", place.precision));
  return place;
}

void require_file(const std::filesystem::path& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file) return void(std::fclose(file));
  throw Refusal(fmt::format("cannot read {}: {}; name a model file or a run folder", path.string(),
                            std::strerror(errno)),
                ANAPHASE_FILE_NOT_FOUND);
}

/// The caller's strides with those that stand for no gaps filled in.
Layout layout(const Session& session, const char* what, std::size_t row_bytes,
              std::size_t row_stride, std::size_t image_stride) {
  constexpr std::size_t most = std::size_t{1} << 40;
  const std::size_t rows = session.height();
  const std::size_t row = row_stride == 0 ? row_bytes : row_stride;
  const auto refuse = [&](const char* kind, std::size_t stride, std::size_t least) {
    throw Refusal(fmt::format("{} {} of the {}: use {} bytes to 2^40, or 0 for memory without gaps",
                              kind, stride, what, least));
  };
  if (row < row_bytes || row > most) refuse("row stride", row, row_bytes);
  const std::size_t image_bytes = (rows - 1) * row + row_bytes;
  const std::size_t image = image_stride == 0 ? rows * row : image_stride;
  if (session.batch() > 1 && (image < image_bytes || image > most))
    refuse("stride", image, image_bytes);
  return {row, image};
}

/// run(session, images, layout, results, layout), once the arguments are found to be right.
template <class Result, class Run>
anaphase_status checked_run(anaphase_session* handle, const std::uint8_t* images,
                            std::size_t image_row_stride, std::size_t image_stride, Result* results,
                            std::size_t result_row_stride, std::size_t result_stride,
                            Run&& run) noexcept {
  if (!handle) return ANAPHASE_INVALID_ARGUMENT;
  return guarded({handle->error, sizeof handle->error}, ANAPHASE_FAILED, [&] {
    constexpr bool is_mask = sizeof(Result) == 1;
    const char* what = is_mask ? "masks" : "probabilities";
    Session& session = handle->session;
    require(images, "images");
    require(results, what);
    const Layout in =
        layout(session, "images", session.image_row_bytes(), image_row_stride, image_stride);
    const Layout out =
        layout(session, what, is_mask ? session.mask_row_bytes() : session.probability_row_bytes(),
               result_row_stride, result_stride);
    if ((reinterpret_cast<std::uintptr_t>(results) | out.row_stride | out.image_stride) %
        alignof(Result))
      throw Refusal(
          "probabilities are floats: give an address and strides that are multiples of 4");
    run(session, in, out);
  });
}

void require_gpu(const Session& session) {
  if (!session.is_gpu())
    throw Refusal(
        "the session's device is the processor, which has no streams: call the function without "
        "_async",
        ANAPHASE_UNSUPPORTED);
}

template <class Result>
anaphase_status run(anaphase_session* handle, const std::uint8_t* images,
                    std::size_t image_row_stride, std::size_t image_stride, Result* results,
                    std::size_t result_row_stride, std::size_t result_stride) noexcept {
  return checked_run(
      handle, images, image_row_stride, image_stride, results, result_row_stride, result_stride,
      [&](Session& session, Layout in, Layout out) { session.run(images, in, results, out); });
}

template <class Result>
anaphase_status run_async(anaphase_session* handle, const std::uint8_t* images,
                          std::size_t image_row_stride, std::size_t image_stride, Result* results,
                          std::size_t result_row_stride, std::size_t result_stride,
                          void* stream) noexcept {
  return checked_run(handle, images, image_row_stride, image_stride, results, result_row_stride,
                     result_stride, [&](Session& session, Layout in, Layout out) {
                       require_gpu(session);
                       session.enqueue(stream, images, in, results, out);
                     });
}

}  // namespace
}  // namespace anaphase::embed

using namespace anaphase::embed;  // NOLINT(google-build-using-namespace)

const char* anaphase_version() {
  return anaphase::version;
}

const char* anaphase_status_name(anaphase_status status) {
  switch (status) {
    case ANAPHASE_OK:
      return "ANAPHASE_OK";
    case ANAPHASE_INVALID_ARGUMENT:
      return "ANAPHASE_INVALID_ARGUMENT";
    case ANAPHASE_FILE_NOT_FOUND:
      return "ANAPHASE_FILE_NOT_FOUND";
    case ANAPHASE_BAD_FILE:
      return "ANAPHASE_BAD_FILE";
    case ANAPHASE_WRONG_VERSION:
      return "ANAPHASE_WRONG_VERSION";
    case ANAPHASE_NO_DEVICE:
      return "ANAPHASE_NO_DEVICE";
    case ANAPHASE_OUT_OF_MEMORY:
      return "ANAPHASE_OUT_OF_MEMORY";
    case ANAPHASE_UNSUPPORTED:
      return "ANAPHASE_UNSUPPORTED";
    case ANAPHASE_FAILED:
      return "ANAPHASE_FAILED";
  }
  return "no status of this version";
}

anaphase_status anaphase_model_open(const char* path, const char* device, anaphase_model** model,
                                    char* error, size_t error_size) {
  if (model) *model = nullptr;
  return guarded({error, error_size}, ANAPHASE_BAD_FILE, [&] {
    require(path, "path");
    require(model, "model");
    require_file(path);
    const Place place = parse_place(device ? device : "auto");
    const auto change = [&](anaphase::models::Config& config) {
      if (!place.precision.empty()) config.training.precision = place.precision;
    };
    const std::shared_ptr<SharedModel> shared(new SharedModel{
        anaphase::models::Model::load(place.device, path, change), place.device.name()});
    *model = new anaphase_model{shared};
  });
}

void anaphase_model_close(anaphase_model* model) {
  delete model;
}

int anaphase_model_channels(const anaphase_model* model) {
  return model ? model->shared->model.facts().channels : 0;
}

int anaphase_model_classes(const anaphase_model* model) {
  return model ? model->shared->model.facts().classes : 0;
}

int anaphase_model_size(const anaphase_model* model) {
  return model ? model->shared->model.config().data.size : 0;
}

int anaphase_model_size_multiple(const anaphase_model* model) {
  return model ? model->shared->model.config().size_multiple() : 0;
}

const char* anaphase_model_device(const anaphase_model* model) {
  return model ? model->shared->device.c_str() : nullptr;
}

anaphase_status anaphase_session_create(anaphase_model* model, int batch, int height, int width,
                                        const char* options, anaphase_session** session,
                                        char* error, size_t error_size) {
  if (session) *session = nullptr;
  return guarded({error, error_size}, ANAPHASE_INVALID_ARGUMENT, [&] {
    require(model, "model");
    require(session, "session");
    *session =
        new anaphase_session{Session(model->shared, batch, height, width, options ? options : "")};
  });
}

void anaphase_session_destroy(anaphase_session* session) {
  delete session;
}

const char* anaphase_session_error(const anaphase_session* session) {
  return session ? session->error : "session is a null pointer: give one that has been created";
}

anaphase_status anaphase_run_mask(anaphase_session* session, const uint8_t* images,
                                  size_t image_row_stride, size_t image_stride, uint8_t* masks,
                                  size_t mask_row_stride, size_t mask_stride) {
  return run(session, images, image_row_stride, image_stride, masks, mask_row_stride, mask_stride);
}

anaphase_status anaphase_run_probabilities(anaphase_session* session, const uint8_t* images,
                                           size_t image_row_stride, size_t image_stride,
                                           float* probabilities, size_t probability_row_stride,
                                           size_t probability_stride) {
  return run(session, images, image_row_stride, image_stride, probabilities, probability_row_stride,
             probability_stride);
}

anaphase_status anaphase_run_mask_async(anaphase_session* session, const uint8_t* images,
                                        size_t image_row_stride, size_t image_stride,
                                        uint8_t* masks, size_t mask_row_stride, size_t mask_stride,
                                        void* stream) {
  return run_async(session, images, image_row_stride, image_stride, masks, mask_row_stride,
                   mask_stride, stream);
}

anaphase_status anaphase_run_probabilities_async(anaphase_session* session, const uint8_t* images,
                                                 size_t image_row_stride, size_t image_stride,
                                                 float* probabilities,
                                                 size_t probability_row_stride,
                                                 size_t probability_stride, void* stream) {
  return run_async(session, images, image_row_stride, image_stride, probabilities,
                   probability_row_stride, probability_stride, stream);
}
