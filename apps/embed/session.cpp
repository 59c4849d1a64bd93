// SPDX-License-Identifier: Apache-2.0
#include "apps/embed/session.hpp"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <vector>

#include "kernels/common/error.hpp"
#include "kernels/common/memory.hpp"
#include "kernels/common/onednn.hpp"
#include "kernels/pixels/pixels.hpp"

namespace anaphase::embed {
namespace {

constexpr int most_threads = 1024;

/// What `options` ("steps=4,threads=2") ask for, over the model's own configuration.
struct Choices {
  models::InferenceOptions inference;
  int threads = 0;
};

int parse_threads(std::string_view value) {
  int threads = -1;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), threads);
  if (error != std::errc{} || end != value.data() + value.size() || threads < 0 ||
      threads > most_threads)
    throw Error(fmt::format("option threads has to be a whole number from 0 to {}", most_threads));
  return threads;
}

Choices parse(std::string_view options, const models::Config& of_model) {
  models::Config config = of_model;
  Choices choices;
  while (!options.empty()) {
    const std::string_view option = options.substr(0, options.find(','));
    options.remove_prefix(std::min(options.size(), option.size() + 1));
    const std::size_t equals = option.find('=');
    const std::string_view key = option.substr(0, equals);
    if (equals == std::string_view::npos)
      throw Error(fmt::format("option '{}' has no value: write steps=4,draws=2", option));
    const std::string_view value = option.substr(equals + 1);
    if (key == "threads")
      choices.threads = parse_threads(value);
    else
      config.set(fmt::format("inference.{}", key), value, "session options");
  }
  config.validate();
  choices.inference = config.inference;
  return choices;
}

void require_size(const models::Config& config, int batch, int height, int width) {
  constexpr int most_batch = 4096, most_side = 1 << 15;
  constexpr std::int64_t most_pixels = 1 << 28;
  const int multiple = config.size_multiple();
  if (batch < 1 || batch > most_batch)
    throw Error(fmt::format("a batch of {} images: use 1 to {}", batch, most_batch));
  for (const auto& [name, side] : {std::pair("height", height), std::pair("width", width)})
    if (side < multiple || side > most_side || side % multiple != 0)
      throw Error(
          fmt::format("{} {} does not fit the model's network: use a multiple of {} from "
                      "{} to {}",
                      name, side, multiple, multiple, most_side));
  if (std::int64_t{batch} * height * width > most_pixels)
    throw Error(fmt::format("{} images of {} x {} are more than {} pixels: use a smaller batch",
                            batch, height, width, most_pixels));
}

}  // namespace

/// OpenMP's threads of the calling thread, for as long as this lives.
class Session::Threads {
 public:
  explicit Threads(int threads) : before_(omp_get_max_threads()), is_own_(threads > 0) {
    if (is_own_) omp_set_num_threads(threads);
  }
  ~Threads() {
    if (is_own_) omp_set_num_threads(before_);
  }
  Threads(const Threads&) = delete;

 private:
  int before_;
  bool is_own_;
};

Session::Session(std::shared_ptr<SharedModel> shared, int batch, int height, int width,
                 std::string_view options)
    : shared_(std::move(shared)),
      device_(shared_->model.device().with_own_queue()),
      batch_(batch),
      height_(height),
      width_(width),
      channels_(shared_->model.facts().channels),
      classes_(shared_->model.facts().classes) {
  models::Model& model = shared_->model;
  require_size(model.config(), batch, height, width);
  const Choices choices = parse(options, model.config());
  threads_ = choices.threads;
  kernels::onednn::threads();  // settles what the process splits its work by: not by this session's
  const Threads threads(threads_);
  {
    const std::lock_guard lock(shared_->makes_session);
    predictor_ = std::make_unique<models::Predictor>(model, choices.inference, batch, height, width,
                                                     device_);
    kernels::synchronize(model.device().stream());
  }
  mean_ = engine::make_tensor(device_, {channels_}, device_.float_type());
  std_ = engine::make_tensor(device_, {channels_}, device_.float_type());
  engine::upload(mean_, model.facts().mean);
  engine::upload(std_, model.facts().std);
  if (is_gpu()) {
    const std::size_t row = std::max(image_row_bytes(), probability_row_bytes());
    pinned_ = engine::make_pinned(device_.stream(), row * height * batch);
    staged_ = engine::allocate(device_, image_row_bytes() * height * batch);
    given_ = std::make_unique<engine::Event>(device_.stream());
    done_ = std::make_unique<engine::Event>(device_.stream());
  }
  warm_up();
}

Session::~Session() {
  try {
    kernels::synchronize(device_.stream());
  } catch (const Error&) {  // a run's failure; what it worked on can be freed all the same
  }
}

/// Loads kernels and makes what programs make when they first run; on a GPU the second run captures
/// them as graphs.
void Session::warm_up() {
  const Layout in = dense(image_row_bytes());
  const std::vector<std::uint8_t> images(in.image_stride * batch_);
  std::vector<std::uint8_t> masks(mask_row_bytes() * height_ * batch_);
  for (int i = 0; i < (is_gpu() ? 2 : 1); ++i)
    run(images.data(), in, masks.data(), dense(mask_row_bytes()));
}

void Session::compute(const std::uint8_t* images, Layout in) {
  kernels::make_current(device_.stream());
  const models::Tensor& input = predictor_->images();
  kernels::launch(device_.stream(), kernels::NormalisePixels{
                                        .n = batch_,
                                        .h = height_,
                                        .w = width_,
                                        .c = channels_,
                                        .type = input.type(),
                                        .row_stride = static_cast<std::int64_t>(in.row_stride),
                                        .image_stride = static_cast<std::int64_t>(in.image_stride),
                                        .x = images,
                                        .mean = mean_.data(),
                                        .std = std_.data(),
                                        .y = input.data()});
  predictor_->run();
}

void Session::write(std::uint8_t* masks, Layout out) {
  kernels::launch(device_.stream(),
                  kernels::LargestClass{.n = batch_,
                                        .h = height_,
                                        .w = width_,
                                        .classes = classes_,
                                        .type = predictor_->images().type(),
                                        .p = predictor_->mean().data(),
                                        .row_stride = static_cast<std::int64_t>(out.row_stride),
                                        .image_stride = static_cast<std::int64_t>(out.image_stride),
                                        .mask = masks});
}

void Session::write(float* probabilities, Layout out) {
  const Layout from = dense(probability_row_bytes());
  for (int n = 0; n < batch_; ++n)
    kernels::copy_rows(device_.stream(),
                       reinterpret_cast<std::byte*>(probabilities) + n * out.image_stride,
                       out.row_stride, predictor_->mean().as<std::byte>() + n * from.image_stride,
                       from.row_stride, from.row_stride, height_);
}

template <class Result>
void Session::run_here(const std::uint8_t* images, Layout in, Result* results, Layout out) {
  const Threads threads(threads_);
  if (!is_gpu()) {
    compute(images, in);
    write(results, out);
    return;
  }
  const kernels::Stream stream = device_.stream(), host;
  const auto copy_on_host = [&](void* to, Layout to_layout, const void* from, Layout from_layout,
                                std::size_t row) {
    for (int n = 0; n < batch_; ++n)
      kernels::copy_rows(host, static_cast<std::byte*>(to) + n * to_layout.image_stride,
                         to_layout.row_stride,
                         static_cast<const std::byte*>(from) + n * from_layout.image_stride,
                         from_layout.row_stride, row, height_);
  };
  const Layout dense_in = dense(image_row_bytes()), dense_out = dense(row_bytes(results));
  const kernels::GpuRuntime& gpu = kernels::gpu_runtime(stream.kind);
  kernels::make_current(stream);
  auto* staged = reinterpret_cast<std::uint8_t*>(staged_.get());
  copy_on_host(pinned_.get(), dense_in, images, in, image_row_bytes());
  gpu.copy(stream, staged, pinned_.get(), dense_in.image_stride * batch_);
  compute(staged, dense_in);
  const void* on_device = predictor_->mean().data();
  if constexpr (std::is_same_v<Result, std::uint8_t>) {
    write(staged, dense_out);  // takes no more than the images did
    on_device = staged;
  }
  gpu.copy(stream, pinned_.get(), on_device, dense_out.image_stride * batch_);
  kernels::synchronize(stream);
  copy_on_host(results, out, pinned_.get(), dense_out, row_bytes(results));
}

template <class Result>
void Session::enqueue_between(void* stream, const std::uint8_t* images, Layout in, Result* results,
                              Layout out) {
  const kernels::Stream own = device_.stream(), callers{own.kind, own.index, stream};
  kernels::make_current(own);
  given_->record(callers);
  given_->hold(own);
  compute(images, in);
  write(results, out);
  done_->record();
  done_->hold(callers);
}

void Session::run(const std::uint8_t* images, Layout in, std::uint8_t* masks, Layout out) {
  run_here(images, in, masks, out);
}
void Session::run(const std::uint8_t* images, Layout in, float* probabilities, Layout out) {
  run_here(images, in, probabilities, out);
}
void Session::enqueue(void* stream, const std::uint8_t* images, Layout in, std::uint8_t* masks,
                      Layout out) {
  enqueue_between(stream, images, in, masks, out);
}
void Session::enqueue(void* stream, const std::uint8_t* images, Layout in, float* probabilities,
                      Layout out) {
  enqueue_between(stream, images, in, probabilities, out);
}

}  // namespace anaphase::embed
