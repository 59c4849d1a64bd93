// SPDX-License-Identifier: Apache-2.0
#include "models/predictor.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/common/error.hpp"
#include "kernels/common/philox.hpp"
#include "kernels/elementwise/elementwise.hpp"
#include "models/diffusion/sampler.hpp"
#include "models/pathways.hpp"

namespace anaphase::models {

using namespace engine;

namespace {

/// Draws 0 and 1 are the start's; the steps of the reverse process follow.
constexpr std::uint32_t first_step_draw = 2;

Tensor make_image(const Model& model, const Device& device, int batch, int height, int width) {
  return make_tensor(device, {batch, height, width, model.facts().channels},
                     model.activation_type());
}

/// Copies `images` to the front of the batch; what is left over stays as it was.
std::int64_t upload_images(const Tensor& image, const std::vector<float>& images) {
  const std::int64_t per_image = image.count() / image.dim(0);
  const auto count = static_cast<std::int64_t>(images.size()) / per_image;
  std::vector<float> padded(image.count());
  std::copy(images.begin(), images.end(), padded.begin());
  upload(image, padded);
  return count;
}

std::vector<float> front(std::vector<float> values, std::int64_t count, std::int64_t batch) {
  values.resize(values.size() / batch * count);
  return values;
}

/// Converted, where the types differ.
void copy(Tape& tape, const Tensor& from, const Tensor& to) {
  tape.launch("copy", {from}, {to}, [from, to] {
    return kernels::Cast{to.count(), from.type(), to.type(), from.data(), to.data()};
  });
}

/// sum += weight * x, where x may have a smaller type.
void add(Tape& tape, const Tensor& sum, const Tensor& x, double weight) {
  Tensor term = x;
  if (x.type() != sum.type()) {
    term = tape.allocate(x.shape(), sum.type());
    copy(tape, x, term);
  }
  tape.launch("add_scaled", {sum, term}, {sum}, [=] {
    return kernels::AddScaled{.count = sum.count(),
                              .type = sum.type(),
                              .a = sum.data(),
                              .b = term.data(),
                              .beta = weight,
                              .y = sum.data()};
  });
}

void clear(Tape& tape, const Tensor& x) {
  tape.launch("fill", {}, {x}, [x] { return kernels::Fill{x.count(), x.type(), 0.0, x.data()}; });
}

/// Images of `batch` that go through a network together. On a processor as many as have tensors of
/// `cached` bytes at the network's full resolution, since what follows finds those in a cache (16
/// images of 128 x 128 pixels, 16 channels: about a seventh less time). Networks of many weights
/// would read these too often that way, and have more to do with each number that they read.
int cached_images(const Model& model, const Network& network, const Device& device, int batch,
                  int height, int width) {
  constexpr std::int64_t cached = 2 << 20, most_weights = 8 << 20;
  if (device.is_gpu() || network.parameters().count() > most_weights) return batch;
  const std::int64_t bytes = std::int64_t{height} * width * model.config().network.width *
                             static_cast<std::int64_t>(kernels::size_of(model.activation_type()));
  auto count = static_cast<int>(std::clamp<std::int64_t>(cached / bytes, 1, batch));
  while (batch % count != 0) --count;
  return count;
}

/// step = -1: before the first step of a reverse process.
void rewind(Tape& tape, const ReverseProcess& process) {
  tape.launch("fill", {}, {process.step}, [step = process.step] {
    return kernels::Fill{step.count(), step.type(), -1.0, step.data()};
  });
}

}  // namespace

Predictor::Predictor(Model& model, const InferenceOptions& options, int batch, int height,
                     int width, const Device& device)
    : model_(model),
      device_(device),
      options_(options),
      batch_(batch),
      height_(height),
      width_(width) {
  const bool teacher = options.with == "teacher";
  const int last = model.config().diffusion.steps - 1;
  if (options.steps > last + 1 || options.timestep > last)
    throw Error(fmt::format("this model has {} timesteps: use fewer --steps", last + 1));
  if (teacher && !model.has_teacher())
    throw Error(
        "this model has no teacher (it was trained with --method supervised): use --with students");
  if (options.steps > 1 && !teacher && !model.config().student.denoising)
    throw Error("students without noise input make a mask in one step: use --steps 1");
  at_once_ = cached_images(model, teacher ? model.pseudo_mask() : model.student(0), device, batch,
                           height, width);
  images_ = make_image(model, device, batch, height, width);
  at_hand_ = at_once_ == batch ? images_ : make_image(model, device, at_once_, height, width);
  keys_ = make_tensor(device, {at_once_}, DType::u64);
  keys_of_draws_ = make_tensor(device, {options_.draws, at_once_}, DType::u64);
  std::vector<std::uint64_t> keys;
  for (int draw = 0; draw < options_.draws; ++draw)
    keys.insert(keys.end(), at_once_, kernels::mix_key(options_.seed, draw));
  upload(keys_of_draws_, keys);
  if (options_.steps > 1) make_process();
  if (teacher) {
    generators_.push_back(make_generator(model.pseudo_mask()));
  } else {
    for (int k = 0; k < model.student_count(); ++k)
      generators_.push_back(make_generator(model.student(k)));
  }
  mean_ = generators_.front().mean;
  if (generators_.size() == 1) return;
  mean_ = make_tensor(device, mean_.shape(), mean_.type());
  Trace trace(device);
  Tape tape(trace, Tape::Mode::infer);
  clear(tape, mean_);
  for (const Generator& generator : generators_)
    add(tape, mean_, generator.mean, 1.0 / static_cast<double>(generators_.size()));
  average_ = trace.finish({});
}

/// The reverse process's tables and state, for the options' sampler and number of steps.
void Predictor::make_process() {
  const Sampler sampler = sampler_named(options_.sampler);
  const std::vector<int> timesteps =
      spaced_timesteps(model_.config().diffusion.steps, options_.steps);
  std::vector<float> coefficients;
  for (const StepCoefficients& step :
       reverse_coefficients(sampler, model_.levels(), timesteps, Prediction::clean))
    coefficients.insert(coefficients.end(), step.begin(), step.end());
  process_ = {make_tensor(device_, {options_.steps, kernels::ReverseStepCoefficients::count},
                          device_.float_type()),
              make_tensor(device_, {options_.steps}, DType::i32),
              make_tensor(device_, {1}, DType::i32), make_tensor(device_, {at_once_}, DType::i32)};
  upload(process_.coefficients, coefficients);
  upload(process_.timesteps, std::vector<std::int32_t>(timesteps.begin(), timesteps.end()));
  const Shape shape{at_once_, height_, width_, model_.facts().classes};
  state_ = make_tensor(device_, shape, model_.activation_type());
  if (sampler == Sampler::dpm) x0_before_ = make_tensor(device_, shape, model_.activation_type());
}

Predictor::Generator Predictor::make_generator(const Network& network) {
  Randomness random{keys_};
  Generator generator;
  Trace trace(device_, Trace::Parameters::fixed);
  Tape tape(trace, Tape::Mode::infer);
  Tensor probabilities;
  if (options_.steps == 1) {
    const int last = model_.config().diffusion.steps - 1;
    const int t = options_.timestep < 0 ? last : options_.timestep;
    probabilities = softmax(tape, generate_mask(tape, model_, network, at_hand_, random, false, t));
  } else {
    Trace start(device_);
    Tape start_tape(start, Tape::Mode::infer);
    rewind(start_tape, process_);
    next_step(start_tape, process_);  // for its timestep
    copy(start_tape,
         forward_noise(start_tape, model_.empty_mask(at_once_, height_, width_), process_.t,
                       model_.alpha_bar(), keys_, random.draw())
             .x_t,
         state_);
    rewind(start_tape, process_);
    generator.start = start.finish({});

    next_step(tape, process_);
    const Tensor logits =
        network.forward(tape, concat(tape, state_, at_hand_), process_.t, random, false);
    const Reversed reversed = reverse_step(tape, state_, mask_signal(tape, logits), x0_before_,
                                           process_, keys_, first_step_draw, -1, 1);
    copy(tape, reversed.x_prev, state_);
    if (x0_before_) copy(tape, reversed.x0, x0_before_);
    probabilities = softmax(tape, logits);
  }
  generator.step = trace.finish({probabilities});

  const DType sum_type = kernels::param_type(probabilities.type());
  Shape shape = probabilities.shape();
  generator.sum = generator.mean = make_tensor(device_, shape, sum_type);
  if (at_once_ != batch_) {
    shape[0] = batch_;
    generator.mean = make_tensor(device_, shape, sum_type);
  }
  Trace sum(device_);
  Tape sum_tape(sum, Tape::Mode::infer);
  add(sum_tape, generator.sum, probabilities, 1.0 / options_.draws);
  generator.add = sum.finish({});
  return generator;
}

void Predictor::start(Generator& generator, int draw) {
  const kernels::Cast keys{at_once_, DType::u64, DType::u64,
                           keys_of_draws_.as<std::uint64_t>() + draw * at_once_, keys_.data()};
  kernels::launch(device_.stream(), keys);
  if (options_.steps > 1) generator.start.replay();
}

void Predictor::run(Generator& generator) {
  const kernels::Stream stream = device_.stream();
  const Tensor& sum = generator.sum;
  kernels::launch(stream, kernels::Fill{sum.count(), sum.type(), 0.0, sum.data()});
  for (int draw = 0; draw < options_.draws; ++draw) {
    start(generator, draw);
    for (int i = 0; i < options_.steps; ++i) generator.step.replay();
    generator.add.replay();
  }
}

void Predictor::copy_in(int first) {
  if (at_once_ == batch_) return;
  const auto offset = static_cast<std::int64_t>(at_hand_.bytes()) / at_once_ * first;
  kernels::launch(device_.stream(),
                  kernels::Cast{at_hand_.count(), at_hand_.type(), at_hand_.type(),
                                images_.as<std::byte>() + offset, at_hand_.data()});
}

void Predictor::copy_out(const Generator& generator, int first) {
  if (at_once_ == batch_) return;
  const Tensor& sum = generator.sum;
  const auto offset = static_cast<std::int64_t>(sum.bytes()) / at_once_ * first;
  kernels::launch(device_.stream(), kernels::Cast{sum.count(), sum.type(), sum.type(), sum.data(),
                                                  generator.mean.as<std::byte>() + offset});
}

void Predictor::run() {
  kernels::make_current(device_.stream());
  for (int first = 0; first < batch_; first += at_once_) {
    copy_in(first);
    for (Generator& generator : generators_) {
      run(generator);
      copy_out(generator, first);
    }
  }
  if (generators_.size() > 1) average_.replay();
}

int Predictor::network_calls() const {
  return options_.steps * options_.draws * static_cast<int>(generators_.size());
}

void Predictor::parameters_changed() {
  for (Generator& generator : generators_) generator.step.parameters_changed();
}

std::vector<std::vector<float>> Predictor::by_network(const std::vector<float>& images) {
  const std::int64_t count = upload_images(images_, images);
  run();
  std::vector<std::vector<float>> means;
  for (const Generator& generator : generators_)
    means.push_back(front(download(generator.mean), count, batch_));
  return means;
}

std::vector<float> Predictor::probabilities(const std::vector<float>& images) {
  const std::int64_t count = upload_images(images_, images);
  run();
  return front(download(mean_), count, batch_);
}

PseudoLabeller::PseudoLabeller(Model& model, int batch, int height, int width) {
  if (!model.has_teacher())
    throw Error(
        "this model has no teacher (it was trained with --method supervised): it makes no "
        "pseudo-labels");
  image_ = make_image(model, model.device(), batch, height, width);
  keys_ = make_tensor(model.device(), {batch}, DType::u64);
  upload(keys_, std::vector<std::uint64_t>(batch, model.config().inference.seed));
  Trace trace(model.device());
  Tape tape(trace, Tape::Mode::infer);
  Randomness random{keys_};
  const Network& f = model.pseudo_mask();
  const Tensor tau = generate_mask(tape, model, f, image_, random, false);
  const Tensor first = mask_signal(tape, tau);
  Tensor mask = first;
  probabilities_.push_back(softmax(tape, tau));
  for (int r = 0; r < model.config().rounds.count; ++r) {
    const Reconstruction rebuilt = reconstruct(tape, model, image_, mask, random, 0, false);
    const Tensor tau_r = generate_mask(tape, model, f, rebuilt.rebuilt, random, false);
    if (model.config().rounds.mode == "sequential") mask = mask_signal(tape, tau_r);
    probabilities_.push_back(softmax(tape, tau_r));
  }
  program_ = trace.finish(probabilities_);
}

std::vector<std::vector<float>> PseudoLabeller::probabilities(const std::vector<float>& images) {
  const std::int64_t count = upload_images(image_, images);
  program_.replay();
  std::vector<std::vector<float>> all;
  for (const Tensor& one : probabilities_)
    all.push_back(front(download(one), count, image_.dim(0)));
  return all;
}

std::vector<std::int32_t> largest_class(const std::vector<float>& probabilities, int classes) {
  std::vector<std::int32_t> labels(probabilities.size() / classes);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const float* p = probabilities.data() + i * classes;
    labels[i] = static_cast<std::int32_t>(std::max_element(p, p + classes) - p);
  }
  return labels;
}

}  // namespace anaphase::models
