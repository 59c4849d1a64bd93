// SPDX-License-Identifier: Apache-2.0
#include "models/model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/common/philox.hpp"
#include "models/diffusion/schedule.hpp"
#include "models/weights.hpp"

namespace anaphase::models {
namespace {

constexpr const char* format_version = "1";

float extreme_normalised(const DataFacts& facts, float value, bool largest) {
  float extreme = 0;
  for (int c = 0; c < facts.channels; ++c) {
    const float z = (value - facts.mean[c]) / facts.std[c];
    extreme = c == 0 ? z : largest ? std::max(extreme, z) : std::min(extreme, z);
  }
  return extreme;
}

DataFacts parse_facts(const std::string& text, const std::string& origin) {
  DataFacts facts;
  try {
    const auto data = nlohmann::json::parse(text);
    facts = {data.at("channels"), data.at("classes"), data.at("mean"), data.at("std")};
  } catch (const nlohmann::json::exception&) {
    facts.channels = 0;
  }
  if ((facts.channels != 1 && facts.channels != 3) || facts.classes < 2 || facts.classes > 255 ||
      static_cast<int>(facts.mean.size()) != facts.channels ||
      static_cast<int>(facts.std.size()) != facts.channels)
    throw io::Unreadable(
        fmt::format("{}: its data description is damaged: train again or use a copy", origin));
  return facts;
}

}  // namespace

float DataFacts::low() const {
  return extreme_normalised(*this, 0, false);
}
float DataFacts::high() const {
  return extreme_normalised(*this, 1, true);
}

Model::Model(const engine::Device& device, const Config& config, const DataFacts& facts)
    : Model(device, config, facts, nullptr) {}

Model::Model(const engine::Device& device, const Config& config, const DataFacts& facts,
             std::unique_ptr<io::SafeTensorsFile> file)
    : device_(config.training.precision == "tf32" ? device.with_tf32() : device),
      config_(config),
      facts_(facts),
      file_(std::move(file)) {
  config_.validate();
  device_.require_support(activation_type());

  const int channels = facts_.channels, classes = facts_.classes;
  const NetworkOptions mask_options{
      config_.network.architecture, classes + channels,     classes, config_.network.width, true,
      config_.network.norm,         config_.network.dropout};
  NetworkOptions image_options = mask_options, student_options = mask_options;
  image_options.out_channels = channels;
  if (!config_.student.denoising) {
    student_options.in_channels = channels;
    student_options.time = false;
  }
  if (config_.training.method == "co-training") {
    networks_["teacher.mask."].network = make_network(mask_options);
    networks_["teacher.image."].network = make_network(image_options);
    if (config_.co_training.teacher_average > 0)
      networks_["teacher.mask_average."].network = make_network(mask_options);
  }
  student_count_ = config_.training.method == "supervised" ? 1 : config_.student.count;
  for (int k = 0; k < student_count_; ++k)
    networks_[student_prefix(k)].network = make_network(student_options);
  if (file_)
    for (const auto& [prefix, part] : networks_)
      require_all(*file_, prefix, part.network->parameters());

  levels_ = models::alpha_bar(config_.diffusion.schedule, config_.diffusion.steps);
  alpha_bar_ = engine::make_tensor(device_, {config_.diffusion.steps}, device_.float_type());
  engine::upload(alpha_bar_, std::vector<float>(levels_.begin(), levels_.end()));
}

std::string Model::student_prefix(int k) {
  return fmt::format("student{}.", k + 1);
}

std::vector<std::string> Model::prefixes() const {
  std::vector<std::string> prefixes;
  prefixes.reserve(networks_.size());
  for (const auto& [prefix, part] : networks_) prefixes.push_back(prefix);
  return prefixes;
}

Network& Model::network(const std::string& prefix) {
  Part& part = networks_.at(prefix);
  if (part.has_values) return *part.network;
  engine::ParameterSet& parameters = part.network->parameters();
  if (file_) {
    parameters.materialise(device_);
    restore(*file_, prefix, parameters);
  } else {
    // The average starts as the mask pathway does.
    const std::string name = prefix == "teacher.mask_average." ? "teacher.mask." : prefix;
    std::uint64_t key = config_.training.seed;
    for (const char c : name) key = kernels::mix_key(key, static_cast<unsigned char>(c));
    parameters.materialise(device_, key);
  }
  part.has_values = true;
  return *part.network;
}

DType Model::activation_type() const {
  if (config_.training.precision == "bf16") return DType::bf16;
  return device_.float_type();
}

Tensor Model::empty_mask(int n, int height, int width) const {
  const int classes = facts_.classes;
  const Tensor mask = engine::make_tensor(device_, {n, height, width, classes}, activation_type());
  std::vector<float> values(mask.count(), 0.0F);
  if (config_.diffusion.empty_mask != "zeros")
    for (std::size_t i = 0; i < values.size(); ++i) {
      const bool is_background = i % classes == 0 && config_.diffusion.empty_mask == "background";
      values[i] = is_background ? 1.0F : -1.0F;
    }
  engine::upload(mask, values);
  return mask;
}

std::int64_t Model::parameter_count(const std::string& prefix) const {
  std::int64_t count = 0;
  for (const auto& entry : networks_.at(prefix).network->parameters().entries())
    if (entry.trainable) count += entry.tensor.count();
  return count;
}

std::int64_t Model::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& [prefix, part] : networks_) count += parameter_count(prefix);
  return count;
}

io::SafeTensors Model::to_file() {
  io::SafeTensors file;
  for (const std::string& prefix : prefixes()) store(file, prefix, network(prefix).parameters());
  file.metadata = {{"format", "anaphase"},
                   {"format_version", format_version},
                   {"config", config_.to_toml()},
                   {"data", nlohmann::json{{"channels", facts_.channels},
                                           {"classes", facts_.classes},
                                           {"mean", facts_.mean},
                                           {"std", facts_.std}}
                                .dump()}};
  return file;
}

void Model::restore_from(io::SafeTensorsFile& file) {
  for (const std::string& prefix : prefixes()) restore(file, prefix, network(prefix).parameters());
}

void Model::save(const std::filesystem::path& path) {
  io::write_safetensors(path, to_file());
}

Model Model::load(const engine::Device& device, const std::filesystem::path& path,
                  const std::function<void(Config&)>& change) {
  const bool is_folder = std::filesystem::is_directory(path);
  const std::filesystem::path weights = is_folder ? path / "model.safetensors" : path;
  if (is_folder && !std::filesystem::exists(weights))
    throw io::Unreadable(fmt::format(
        "{} holds no model.safetensors: train it first, or name a model file", path.string()));
  auto file = std::make_unique<io::SafeTensorsFile>(weights);
  const std::string origin = weights.string();
  const auto metadata = [&](const std::string& key) {
    const auto found = file->metadata().find(key);
    if (found == file->metadata().end())
      throw io::Unreadable(
          fmt::format("{} was not written by anaphase (no '{}' in its metadata): name a "
                      "model.safetensors of a run",
                      origin, key));
    return found->second;
  };
  if (metadata("format_version") != format_version)
    throw WrongVersion(
        fmt::format("{} has format version {}, this program reads {}: use a matching release",
                    origin, metadata("format_version"), format_version));
  Config config;
  config.read_text(metadata("config"), origin);
  if (change) change(config);
  return {device, config, parse_facts(metadata("data"), origin), std::move(file)};
}

}  // namespace anaphase::models
