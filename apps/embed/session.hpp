// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "engine/stream.hpp"
#include "models/predictor.hpp"

namespace anaphase::embed {

/// A model that sessions share. Its parameters do not change.
struct SharedModel {
  models::Model model;
  std::string device;             // its name
  std::mutex makes_session = {};  // on the model's own queue of calls
};

/// Rows of a batch of images in memory of the caller's.
struct Layout {
  std::size_t row_stride = 0, image_stride = 0;  // bytes
};

/// Masks for batches of one size, on a queue of its own, from and to memory of the caller's. Runs
/// allocate nothing.
class Session {
 public:
  /// Throws Error for sizes and options that the model cannot take.
  Session(std::shared_ptr<SharedModel> shared, int batch, int height, int width,
          std::string_view options);
  ~Session();

  bool is_gpu() const { return device_.is_gpu(); }
  int batch() const { return batch_; }
  int height() const { return height_; }
  std::size_t image_row_bytes() const { return std::size_t(width_) * channels_; }
  std::size_t mask_row_bytes() const { return width_; }
  std::size_t probability_row_bytes() const { return sizeof(float) * width_ * classes_; }

  /// In the host's memory; has ended when it returns.
  void run(const std::uint8_t* images, Layout in, std::uint8_t* masks, Layout out);
  void run(const std::uint8_t* images, Layout in, float* probabilities, Layout out);
  /// In the memory of the session's GPU, between the calls of `stream` before and after; has only
  /// been enqueued when it returns.
  void enqueue(void* stream, const std::uint8_t* images, Layout in, std::uint8_t* masks,
               Layout out);
  void enqueue(void* stream, const std::uint8_t* images, Layout in, float* probabilities,
               Layout out);

 private:
  class Threads;
  /// From and to memory of the device.
  void compute(const std::uint8_t* images, Layout in);
  void write(std::uint8_t* masks, Layout out);
  void write(float* probabilities, Layout out);
  std::size_t row_bytes(const std::uint8_t*) const { return mask_row_bytes(); }
  std::size_t row_bytes(const float*) const { return probability_row_bytes(); }
  template <class Result>
  void run_here(const std::uint8_t* images, Layout in, Result* results, Layout out);
  template <class Result>
  void enqueue_between(void* stream, const std::uint8_t* images, Layout in, Result* results,
                       Layout out);
  Layout dense(std::size_t row_bytes) const { return {row_bytes, row_bytes * height_}; }
  void warm_up();

  std::shared_ptr<SharedModel> shared_;
  engine::Device device_;
  int batch_, height_, width_, channels_, classes_;
  int threads_ = 0;  // 0: OpenMP's own number
  std::unique_ptr<models::Predictor> predictor_;
  models::Tensor mean_, std_;
  // Of a GPU: pinned memory of the host and memory of the device, through which the host's images
  // and results go; events that tie the queue to a caller's.
  std::shared_ptr<void> pinned_;
  std::shared_ptr<std::byte> staged_;
  std::unique_ptr<engine::Event> given_, done_;
};

}  // namespace anaphase::embed
