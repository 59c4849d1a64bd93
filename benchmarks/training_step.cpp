// SPDX-License-Identifier: Apache-2.0
// bench_training_step: what the steps of training and inference cost, part by part.
#include <fmt/format.h>
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "kernels/common/error.hpp"
#include "models/pathways.hpp"
#include "models/training/steps.hpp"

namespace {

using namespace anaphase;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string preset = "tiny", architecture = "unet", precision = "f32";
  int size = 128, batch = 4, rounds = 3, students = 2, replays = 10;
};

models::Model make_model(const Options& options, const std::string& method) {
  models::Config config;
  config.apply_preset(options.preset);
  config.set("data.size", std::to_string(options.size));
  config.set("network.architecture", options.architecture);
  config.set("student.count", std::to_string(options.students));
  config.set("rounds.count", std::to_string(options.rounds));
  config.set("training.method", method);
  config.set("training.precision", options.precision);
  return {engine::Device::cpu(), config, {3, 2, {0.5F, 0.5F, 0.5F}, {0.25F, 0.25F, 0.25F}}};
}

models::Optimizers make_optimizers(models::Model& model, const std::string& prefix) {
  models::Optimizers optimizers;
  for (auto& [name, network] : model.networks())
    if (name.starts_with(prefix))
      optimizers.push_back(std::make_unique<engine::Optimizer>(
          network->parameters(), engine::OptimizerOptions{.clip_norm = 1}));
  for (auto& optimizer : optimizers) optimizer->prepare(0, 1e-4);
  return optimizers;
}

/// Stripes as images, their halves as labels: enough for kernels whose time hardly depends on data.
void fill(const models::BatchInput& input) {
  if (!input.image) return;
  std::vector<float> pixels(input.image.count());
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<float>(i % 97) / 48.0F - 1.0F;
  engine::upload(input.image, pixels);
  engine::upload(input.keys, std::vector<std::uint64_t>(input.keys.count(), 7));
  if (!input.labels) return;
  std::vector<std::int32_t> labels(input.labels.count());
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i / 64 % 2);
  engine::upload(input.labels, labels);
}

double megabytes(std::size_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

bool is_matrix_work(const std::string& call) {
  return call.starts_with("conv_") || call.starts_with("linear_");
}

void print_profile(const std::map<std::string, engine::CallProfile>& profile) {
  double seconds = 0, flops = 0, matrix_flops = 0;
  for (const auto& [name, part] : profile) {
    seconds += part.seconds;
    flops += part.flops;
    if (is_matrix_work(name)) matrix_flops += part.flops;
  }
  std::vector<std::pair<std::string, engine::CallProfile>> parts(profile.begin(), profile.end());
  std::sort(parts.begin(), parts.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  fmt::print("  {:28} {:>6} {:>9} {:>7} {:>9} {:>7} {:>9}\n", "call", "calls", "ms", "time",
             "GFLOP", "FLOP", "GFLOP/s");
  for (const auto& [name, part] : parts)
    fmt::print("  {:28} {:6} {:9.2f} {:6.1f}% {:9.3f} {:6.1f}% {:9.1f}\n", name, part.calls,
               1e3 * part.seconds, 100 * part.seconds / seconds, 1e-9 * part.flops,
               100 * part.flops / flops, 1e-9 * part.flops / part.seconds);
  fmt::print(
      "  convolutions and matrix products carry {:.1f}% of the floating-point operations\n\n",
      100 * matrix_flops / flops);
}

void measure(const std::string& name, engine::Program& program, int replays) {
  program.replay();  // makes oneDNN's primitives
  const std::int64_t allocations = engine::memory_use().allocations;
  std::vector<double> seconds;
  for (int i = 0; i < replays; ++i) {
    const auto start = Clock::now();
    program.replay();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  const std::int64_t allocated = engine::memory_use().allocations - allocations;
  std::sort(seconds.begin(), seconds.end());
  const double median = (seconds[(replays - 1) / 2] + seconds[replays / 2]) / 2;

  const auto profile = program.profile();
  double flops = 0;
  for (const auto& [call, part] : profile) flops += part.flops;
  const engine::MemoryPlan& plan = program.plan();
  fmt::print("{}: {:.1f} ms (median of {}, {:.1f} to {:.1f}), {:.2f} GFLOP, {:.1f} GFLOP/s\n", name,
             1e3 * median, replays, 1e3 * seconds.front(), 1e3 * seconds.back(), 1e-9 * flops,
             1e-9 * flops / median);
  fmt::print("  {} calls; {} buffers, planned into {:.1f} MB instead of {:.1f} MB\n", plan.calls,
             plan.buffers, megabytes(plan.peak_bytes), megabytes(plan.total_bytes));
  fmt::print("  buffers allocated in {} replays: {}\n", replays, allocated);
  print_profile(profile);
  std::fflush(stdout);
}

void measure(const std::string& name, models::TrainingStep step, int replays) {
  fill(step.labelled);
  fill(step.unlabelled);
  if (step.ramp) engine::upload(step.ramp, std::vector<float>{0.5F});
  measure(name, step.program, replays);
}

void measure_inference(const Options& options) {
  models::Model model = make_model(options, "supervised");
  const engine::Device& device = model.device();
  const models::BatchInput input{
      engine::make_tensor(device, {options.batch, options.size, options.size, 3},
                          model.activation_type()),
      {},
      engine::make_tensor(device, {options.batch}, engine::DType::u64)};
  fill(input);
  engine::Trace trace(device);
  engine::Tape tape(trace, engine::Tape::Mode::infer);
  models::Randomness random{input.keys};
  const int last = model.config().diffusion.steps - 1;
  const engine::Tensor mask =
      engine::softmax(tape, models::generate_mask(tape, model, *model.students().front(),
                                                  input.image, random, false, last));
  engine::Program program = trace.finish({mask});
  measure("one-step inference, one student", program, options.replays);
}

void run(const Options& options) {
  fmt::print(
      "{} {}, {} px, batch {}, {} students, {} rounds, {}, {} threads\nOnly convolutions, linear "
      "layers and attention are counted in full; other calls count 8 operations for each number "
      "they write.\n\n",
      options.architecture, options.preset, options.size, options.batch, options.students,
      options.rounds, options.precision, omp_get_max_threads());
  {
    models::Model model = make_model(options, "co-training");
    const models::Optimizers all = make_optimizers(model, "");
    measure("co-training step", models::co_training_step(model, all, options.batch, nullptr),
            options.replays);
    const models::Optimizers teacher = make_optimizers(model, "teacher.");
    measure("pretraining step", models::pretraining_step(model, teacher, options.batch),
            options.replays);
  }
  {
    models::Model model = make_model(options, "supervised");
    const models::Optimizers all = make_optimizers(model, "");
    measure("supervised step", models::supervised_step(model, all, options.batch), options.replays);
  }
  measure_inference(options);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times the steps of training and inference, and the calls they consist of.");
  Options options;
  app.add_option("--preset", options.preset, "tiny, small or paper")->capture_default_str();
  app.add_option("--architecture", options.architecture, "unet or plain")->capture_default_str();
  app.add_option("--precision", options.precision, "f32 or bf16")->capture_default_str();
  app.add_option("--size", options.size, "Width and height of the images in pixels")
      ->capture_default_str();
  app.add_option("--batch", options.batch, "Labelled images in a step, and as many unlabelled")
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "Rounds of pseudo-labels")->capture_default_str();
  app.add_option("--students", options.students, "1 or 2")->capture_default_str();
  app.add_option("--replays", options.replays, "How often each step is timed")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const Error& error) {
    fmt::print(stderr, "bench_training_step: {}\n", error.what());
    return 1;
  }
}
