// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>

#include "apps/bench/report.hpp"
#include "apps/settings.hpp"
#include "io/atomic_file.hpp"
#include "kernels/common/philox.hpp"
#include "models/diffusion/sampler.hpp"
#include "models/predictor.hpp"

namespace anaphase::apps::bench {
namespace {

struct Sampling {
  Options options;
  models::InferenceOptions inference{.with = "teacher", .steps = 20};
};

/// The noised empty masks that the samples of a predictor's first draw begin with.
engine::Tensor starts(const models::Model& model, const models::InferenceOptions& inference,
                      int batch, int timestep) {
  const int size = model.config().data.size;
  engine::Eager executor(model.device());
  engine::Tape tape(executor, engine::Tape::Mode::infer);
  const engine::Tensor t = engine::make_tensor(model.device(), {batch}, engine::DType::i32);
  const engine::Tensor keys = engine::make_tensor(model.device(), {batch}, engine::DType::u64);
  engine::upload(t, std::vector<std::int32_t>(batch, timestep));
  engine::upload(keys, std::vector<std::uint64_t>(batch, kernels::mix_key(inference.seed, 0)));
  return engine::forward_noise(tape, model.empty_mask(batch, size, size), t, model.alpha_bar(),
                               keys, 0)
      .x_t;
}

/// After a run: everything that another implementation needs to repeat it.
io::SafeTensors dump(const models::Model& model, const models::InferenceOptions& inference,
                     const models::Predictor& predictor) {
  const auto values = [](const engine::Tensor& tensor) {
    return dumped(tensor.shape(), engine::download(tensor));
  };
  io::SafeTensors file;
  file.metadata = {{"with", inference.with}, {"sampler", inference.sampler}};
  file.tensors = {{"image", values(predictor.images())},
                  {"probabilities", values(predictor.mean())}};
  if (inference.with == "students" && !model.config().student.denoising) return file;

  const std::vector<int> timesteps =
      models::spaced_timesteps(model.config().diffusion.steps, inference.steps);
  std::vector<float> coefficients;
  for (const models::StepCoefficients& step :
       models::reverse_coefficients(models::sampler_named(inference.sampler), model.levels(),
                                    timesteps, models::Prediction::clean))
    coefficients.insert(coefficients.end(), step.begin(), step.end());
  file.tensors["start"] = values(starts(model, inference, predictor.batch(), timesteps.front()));
  file.tensors["timesteps"] =
      dumped({inference.steps}, std::vector<std::int32_t>(timesteps.begin(), timesteps.end()));
  file.tensors["coefficients"] =
      dumped({inference.steps, kernels::ReverseStepCoefficients::count}, coefficients);
  return file;
}

void sample(const Sampling& sampling) {
  const Options& options = sampling.options;
  const engine::Device device = open_device(options);
  models::Model model = make_model(options, device);
  if (!options.weights.empty()) model.save(options.weights);
  const int size = model.config().data.size;

  Report report{.benchmark = "sampling", .settings = settings_of(options, model)};
  report.settings.update({{"with", sampling.inference.with},
                          {"steps", sampling.inference.steps},
                          {"sampler", sampling.inference.sampler}});
  report.title =
      fmt::format("Masks by {}, {} steps of {}; {}", sampling.inference.with,
                  sampling.inference.steps, sampling.inference.sampler, model_text(model));
  io::Series throughput{"images/s", {}};
  for (const int batch : options.batches) {
    models::Predictor predictor(model, sampling.inference, batch, size, size);
    engine::upload(predictor.images(), made_up_pixels(predictor.images().count()));
    if (!options.dump.empty()) {
      predictor.run();
      io::write_safetensors(options.dump, dump(model, sampling.inference, predictor));
    }
    const Times times = repeat(options, device, [&] { predictor.run(); });
    const engine::Program& step = predictor.step();
    const int calls = predictor.network_calls();

    Json row{{"batch", batch}, {"network_calls", calls}};
    add_times(row, times);
    row["ms_per_network_call"] = times.median() / calls;
    row["ms_per_image"] = times.median() / batch;
    row["images_per_second"] = 1e3 * batch / times.median();
    const int replays = calls * (batch / predictor.images_at_once());
    add_work(row, replays * flops_of(step), replays * bytes_of(step));
    add_memory(row, step.plan());
    throughput.points.emplace_back(batch, row["images_per_second"].get<double>());
    report.charts.push_back(chart_of(times, fmt::format("Batches of {}", batch)));
    if (options.profile) {
      predictor.start();
      row["calls"] = profile_rows(predictor.step().profile());
      report.tables.push_back({fmt::format("A step of the network, {} of {} images at once",
                                           predictor.images_at_once(), batch),
                               profile_columns(), row["calls"]});
    }
    report.rows.push_back(row);
  }
  if (options.batches.size() > 1)
    report.charts.insert(report.charts.begin(),
                         {"Throughput", "batch", "images/s", io::Scale::linear, {throughput}});
  report.columns = {{"batch", "batch"}};
  append(report.columns, time_columns());
  append(report.columns, {{"ms_per_network_call", "ms/call", 3},
                          {"ms_per_image", "ms/image", 3},
                          {"images_per_second", "images/s", 2}});
  append(report.columns, rate_columns());
  append(report.columns, memory_columns());
  finish(std::move(report), options, device, measure_ceilings(device, model.activation_type()));
}

}  // namespace

void add_sampling(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand(
      "sampling",
      "Time the reverse process: masks from noise, by the teacher's mask pathway or the students. "
      "A repetition makes the masks of one batch, on the device from images to probabilities.");
  const auto sampling = std::make_shared<Sampling>();
  add_options(*command, sampling->options);
  add_paced(*command, sampling->options);
  add_batches(*command, sampling->options);
  add_files(*command, sampling->options,
            "images, starting noise, timesteps, coefficients of the steps and the resulting "
            "probabilities");
  add_profile(*command, sampling->options);
  command
      ->add_option("--with", sampling->inference.with,
                   "teacher or students (their mean, where there are two)")
      ->check(CLI::IsMember({"students", "teacher"}).description(""))
      ->type_name("WHO")
      ->capture_default_str()
      ->group("Sampling");
  command->add_option("--steps", sampling->inference.steps, "Denoising steps for a mask")
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N")
      ->capture_default_str()
      ->group("Sampling");
  command
      ->add_option("--sampler", sampling->inference.sampler,
                   "ddim, dpm (DPM-Solver++, second order) or ddpm (draws noise in every step)")
      ->check(CLI::IsMember({"ddim", "dpm", "ddpm"}).description(""))
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Sampling");
  command->footer(
      "Examples:\n"
      "  anaphase bench sampling --preset tiny --batch 1 4 16 --json sampling.json\n"
      "  anaphase bench sampling --model run --with students --steps 1 --precision bf16");
  command->callback([sampling] { sample(*sampling); });
}

}  // namespace anaphase::apps::bench
