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

Tensor make_image(const Model& model, int batch, int height, int width) {
  return make_tensor(model.device(), {batch, height, width, model.facts().channels},
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

void copy(Tape& tape, const Tensor& from, const Tensor& to) {
  tape.launch("copy", {from}, {to}, [from, to] {
    return kernels::Cast{to.count(), to.type(), to.type(), from.data(), to.data()};
  });
}

/// step = -1: before the first step of a reverse process.
void rewind(Tape& tape, const ReverseProcess& process) {
  tape.launch("fill", {}, {process.step}, [step = process.step] {
    return kernels::Fill{step.count(), step.type(), -1.0, step.data()};
  });
}

}  // namespace

Predictor::Predictor(Model& model, const InferenceOptions& options, int batch, int height,
                     int width)
    : model_(model), options_(options), batch_(batch), height_(height), width_(width) {
  const bool teacher = options.with == "teacher";
  const int last = model.config().diffusion.steps - 1;
  if (options.steps > last + 1 || options.timestep > last)
    throw Error(fmt::format("this model has {} timesteps: use fewer --steps", last + 1));
  if (teacher && !model.has_teacher())
    throw Error(
        "this model has no teacher (it was trained with --method supervised): use --with students");
  if (options.steps > 1 && !teacher && !model.config().student.denoising)
    throw Error("students without noise input make a mask in one step: use --steps 1");
  const Device& device = model.device();
  image_ = make_image(model, batch, height, width);
  keys_ = make_tensor(device, {batch}, DType::u64);
  if (options_.steps > 1) make_process();
  if (teacher) {
    generators_.push_back(make_generator(model.pseudo_mask()));
  } else {
    for (auto& student : model.students()) generators_.push_back(make_generator(*student));
  }
}

/// The reverse process's tables and state, for the options' sampler and number of steps.
void Predictor::make_process() {
  const Device& device = model_.device();
  const Sampler sampler = sampler_named(options_.sampler);
  const std::vector<int> timesteps =
      spaced_timesteps(model_.config().diffusion.steps, options_.steps);
  std::vector<float> coefficients;
  for (const StepCoefficients& step :
       reverse_coefficients(sampler, model_.levels(), timesteps, Prediction::clean))
    coefficients.insert(coefficients.end(), step.begin(), step.end());
  process_ = {make_tensor(device, {options_.steps, kernels::ReverseStepCoefficients::count},
                          device.float_type()),
              make_tensor(device, {options_.steps}, DType::i32),
              make_tensor(device, {1}, DType::i32), make_tensor(device, {batch_}, DType::i32)};
  upload(process_.coefficients, coefficients);
  upload(process_.timesteps, std::vector<std::int32_t>(timesteps.begin(), timesteps.end()));
  const Shape shape{batch_, height_, width_, model_.facts().classes};
  state_ = make_tensor(device, shape, model_.activation_type());
  if (sampler == Sampler::dpm) x0_before_ = make_tensor(device, shape, model_.activation_type());
}

Predictor::Generator Predictor::make_generator(const Network& network) {
  Randomness random{keys_};
  Generator generator;
  if (options_.steps == 1) {
    Trace trace(model_.device());
    Tape tape(trace, Tape::Mode::infer);
    const int last = model_.config().diffusion.steps - 1;
    const int t = options_.timestep < 0 ? last : options_.timestep;
    generator.probabilities =
        softmax(tape, generate_mask(tape, model_, network, image_, random, false, t));
    generator.step = trace.finish({generator.probabilities});
    return generator;
  }
  Trace start(model_.device());
  Tape start_tape(start, Tape::Mode::infer);
  rewind(start_tape, process_);
  next_step(start_tape, process_);  // for its timestep
  copy(start_tape,
       forward_noise(start_tape, model_.empty_mask(batch_, height_, width_), process_.t,
                     model_.alpha_bar(), keys_, random.draw())
           .x_t,
       state_);
  rewind(start_tape, process_);
  generator.start = start.finish({});

  Trace trace(model_.device());
  Tape tape(trace, Tape::Mode::infer);
  next_step(tape, process_);
  const Tensor logits =
      network.forward(tape, concat(tape, state_, image_), process_.t, random, false);
  const Reversed reversed = reverse_step(tape, state_, mask_signal(tape, logits), x0_before_,
                                         process_, keys_, first_step_draw, -1, 1);
  copy(tape, reversed.x_prev, state_);
  if (x0_before_) copy(tape, reversed.x0, x0_before_);
  generator.probabilities = softmax(tape, logits);
  generator.step = trace.finish({generator.probabilities});
  return generator;
}

void Predictor::run(Generator& generator) {
  if (options_.steps > 1) generator.start.replay();
  for (int i = 0; i < options_.steps; ++i) generator.step.replay();
}

std::vector<std::vector<float>> Predictor::by_network(const std::vector<float>& images) {
  const std::int64_t count = upload_images(image_, images);
  std::vector<std::vector<float>> means(generators_.size());
  for (int draw = 0; draw < options_.draws; ++draw) {
    upload(keys_, std::vector<std::uint64_t>(batch_, kernels::mix_key(options_.seed, draw)));
    for (std::size_t k = 0; k < generators_.size(); ++k) {
      run(generators_[k]);
      const std::vector<float> one = download(generators_[k].probabilities);
      means[k].resize(one.size());
      for (std::size_t i = 0; i < one.size(); ++i)
        means[k][i] += one[i] / static_cast<float>(options_.draws);
    }
  }
  for (auto& mean : means) mean = front(std::move(mean), count, batch_);
  return means;
}

std::vector<float> Predictor::probabilities(const std::vector<float>& images) {
  const std::vector<std::vector<float>> all = by_network(images);
  std::vector<float> mean(all.front().size());
  for (const auto& one : all)
    for (std::size_t i = 0; i < mean.size(); ++i)
      mean[i] += one[i] / static_cast<float>(all.size());
  return mean;
}

PseudoLabeller::PseudoLabeller(Model& model, int batch, int height, int width) {
  if (!model.has_teacher())
    throw Error(
        "this model has no teacher (it was trained with --method supervised): it makes no "
        "pseudo-labels");
  image_ = make_image(model, batch, height, width);
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
