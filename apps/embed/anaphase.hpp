// SPDX-License-Identifier: Apache-2.0
#ifndef ANAPHASE_HPP
#define ANAPHASE_HPP

// anaphase.h for C++ 17: handles that close themselves, and errors as exceptions (thrown here, in
// the caller's own code). Sizes, strides and threads are as anaphase.h says.

#include <anaphase.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace anaphase {

/// what() is the sentence.
class Failure : public std::runtime_error {
 public:
  Failure(anaphase_status status, const char* sentence)
      : std::runtime_error(sentence), status_(status) {}
  anaphase_status status() const noexcept { return status_; }

 private:
  anaphase_status status_;
};

/// A batch in memory of the caller's. 0 stands for rows or images without gaps.
template <class Element>
struct Batch {
  Element* data = nullptr;
  std::size_t row_stride = 0, stride = 0;  // bytes

  Batch(Element* first, std::size_t bytes_to_next_row = 0, std::size_t bytes_to_next = 0)
      : data(first), row_stride(bytes_to_next_row), stride(bytes_to_next) {}
};

class Model {
 public:
  explicit Model(const std::string& path, const std::string& device = "auto") {
    char error[ANAPHASE_ERROR_SIZE];
    anaphase_model* model = nullptr;
    const anaphase_status status =
        anaphase_model_open(path.c_str(), device.c_str(), &model, error, sizeof error);
    if (status != ANAPHASE_OK) throw Failure(status, error);
    handle_.reset(model);
  }

  int channels() const { return anaphase_model_channels(handle_.get()); }
  int classes() const { return anaphase_model_classes(handle_.get()); }
  int size() const { return anaphase_model_size(handle_.get()); }
  int size_multiple() const { return anaphase_model_size_multiple(handle_.get()); }
  std::string device() const { return anaphase_model_device(handle_.get()); }
  anaphase_model* get() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(anaphase_model* model) const { anaphase_model_close(model); }
  };
  std::unique_ptr<anaphase_model, Close> handle_;
};

/// For one thread at a time.
class Session {
 public:
  Session(const Model& model, int batch, int height, int width, const std::string& options = "") {
    char error[ANAPHASE_ERROR_SIZE];
    anaphase_session* session = nullptr;
    const anaphase_status status = anaphase_session_create(
        model.get(), batch, height, width, options.c_str(), &session, error, sizeof error);
    if (status != ANAPHASE_OK) throw Failure(status, error);
    handle_.reset(session);
  }

  void run(Batch<const std::uint8_t> images, Batch<std::uint8_t> masks) {
    check(anaphase_run_mask(handle_.get(), images.data, images.row_stride, images.stride,
                            masks.data, masks.row_stride, masks.stride));
  }
  void run(Batch<const std::uint8_t> images, Batch<float> probabilities) {
    check(anaphase_run_probabilities(handle_.get(), images.data, images.row_stride, images.stride,
                                     probabilities.data, probabilities.row_stride,
                                     probabilities.stride));
  }
  /// `stream` is a cudaStream_t.
  void run_async(Batch<const std::uint8_t> images, Batch<std::uint8_t> masks, void* stream) {
    check(anaphase_run_mask_async(handle_.get(), images.data, images.row_stride, images.stride,
                                  masks.data, masks.row_stride, masks.stride, stream));
  }
  void run_async(Batch<const std::uint8_t> images, Batch<float> probabilities, void* stream) {
    check(anaphase_run_probabilities_async(handle_.get(), images.data, images.row_stride,
                                           images.stride, probabilities.data,
                                           probabilities.row_stride, probabilities.stride, stream));
  }
  anaphase_session* get() const { return handle_.get(); }

 private:
  struct Destroy {
    void operator()(anaphase_session* session) const { anaphase_session_destroy(session); }
  };
  void check(anaphase_status status) const {
    if (status != ANAPHASE_OK) throw Failure(status, anaphase_session_error(handle_.get()));
  }
  std::unique_ptr<anaphase_session, Destroy> handle_;
};

}  // namespace anaphase

#endif
