// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "apps/commands.hpp"
#include "apps/inference.hpp"
#include "apps/settings.hpp"
#include "io/dataset.hpp"
#include "io/resize.hpp"
#include "kernels/common/error.hpp"

namespace anaphase::apps {
namespace {

namespace fs = std::filesystem;

struct SegmentOptions {
  InferenceChoices choices;
  std::vector<fs::path> in;
  fs::path out;
  bool probabilities = false;
};

fs::path mask_path(const fs::path& out, const std::string& name) {
  return out / (name + ".png");
}

fs::path class_path(const fs::path& out, const std::string& name, int k) {
  return out / fmt::format("{}_class{}.png", name, k);
}

/// Throws Error where a result would overwrite an image or another result.
void check_outputs(const std::vector<io::Sample>& samples, const SegmentOptions& options,
                   int classes) {
  std::set<fs::path> inputs, outputs;
  for (const io::Sample& sample : samples) inputs.insert(fs::weakly_canonical(sample.image));
  const auto check = [&](const fs::path& path) {
    if (inputs.contains(fs::weakly_canonical(path)))
      throw Error(fmt::format(
          "{} would be overwritten by its mask: choose another folder for --out", path.string()));
    if (!outputs.insert(path).second)
      throw Error(fmt::format("two results would be written to {}: rename one of the images",
                              path.string()));
  };
  for (const io::Sample& sample : samples) {
    check(mask_path(options.out, sample.name));
    for (int k = 1; options.probabilities && k < classes; ++k)
      check(class_path(options.out, sample.name, k));
  }
}

/// `probabilities` [size, size, K], from `first` on, at the size that the image had.
io::Image class_at_full_size(const std::vector<float>& probabilities, std::size_t first, int size,
                             int classes, int k, const io::LoadedSample& sample) {
  io::Image plane{size, size, 1, std::vector<float>(static_cast<std::size_t>(size) * size)};
  for (std::size_t i = 0; i < plane.pixels.size(); ++i)
    plane.pixels[i] = probabilities[first + i * classes + k];
  return io::resize_bilinear(plane, sample.original_width, sample.original_height);
}

void write_result(const io::LoadedSample& sample, const std::vector<float>& probabilities,
                  std::size_t first, int size, int classes, const SegmentOptions& options) {
  io::LabelMap mask{sample.original_width, sample.original_height, {}};
  io::Image largest;
  for (int k = 0; k < classes; ++k) {
    io::Image plane = class_at_full_size(probabilities, first, size, classes, k, sample);
    if (k > 0 && options.probabilities)
      io::write_png(class_path(options.out, sample.name, k), plane);
    if (k == 0) {
      mask.labels.assign(plane.pixels.size(), 0);
      largest = std::move(plane);
      continue;
    }
    for (std::size_t i = 0; i < plane.pixels.size(); ++i)
      if (plane.pixels[i] > largest.pixels[i]) {
        largest.pixels[i] = plane.pixels[i];
        mask.labels[i] = k;
      }
  }
  io::write_mask(mask_path(options.out, sample.name), mask, classes == 2);
}

void segment(const SegmentOptions& options) {
  models::Model model = load_model(options.choices);
  const int size = model.config().data.size, classes = model.facts().classes;
  const std::vector<io::Sample> samples = io::list_images(options.in);
  check_outputs(samples, options, classes);
  const int batch = static_cast<int>(std::min<std::size_t>(options.choices.batch, samples.size()));
  models::Predictor predictor(model, inference_options(options.choices, model), batch, size, size);

  for (std::size_t begin = 0; begin < samples.size(); begin += batch) {
    std::vector<io::LoadedSample> loaded;
    std::vector<float> pixels;
    for (std::size_t i = begin; i < std::min(samples.size(), begin + batch); ++i) {
      loaded.push_back(load_for(model, samples[i]));
      pixels.insert(pixels.end(), loaded.back().image.pixels.begin(),
                    loaded.back().image.pixels.end());
    }
    const std::vector<float> probabilities = predictor.probabilities(pixels);
    make_folder(options.out);
    if (begin == 0) explain_device(options.choices.device);
    for (std::size_t i = 0; i < loaded.size(); ++i)
      write_result(loaded[i], probabilities, i * probabilities.size() / loaded.size(), size,
                   classes, options);
  }
  fmt::print("wrote {} masks to {}\n", samples.size(), options.out.string());
}

}  // namespace

void add_segment(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "segment",
      "Make masks of images with a trained model. An image is resized to the size of training, and "
      "the class probabilities back to its own size; DIR/NAME.png then holds the likeliest class "
      "of every pixel: 0 and 255 for two classes, class ids for more.");
  const auto options = std::make_shared<SegmentOptions>();
  add_choices(*command, options->choices);
  command->add_option("--in", options->in, "Images, or folders of images")
      ->required()
      ->type_name("PATH")
      ->group("Data");
  command->add_option("--out", options->out, "Folder for the masks; made where it is missing")
      ->required()
      ->type_name("DIR")
      ->group("Data");
  command
      ->add_flag("--probabilities", options->probabilities,
                 "Write DIR/NAME_classK.png too, for K = 1, 2, …: the probability of class K, 255 "
                 "for 1")
      ->group("Data");
  command->footer(
      "Examples:\n"
      "  anaphase segment --model run --in scans --out masks\n"
      "  anaphase segment --model run/model.safetensors --in a.png b.tif --out masks --with "
      "teacher");
  command->callback([options] { segment(*options); });
}

}  // namespace anaphase::apps
