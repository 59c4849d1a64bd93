// SPDX-License-Identifier: Apache-2.0
#include "models/weights.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "kernels/common/error.hpp"
#include "models/model.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/small_model.hpp"

namespace anaphase::test {
using namespace models;

TEST_CASE("convolution weights are saved in PyTorch's layout") {
  engine::ParameterSet set;
  const engine::Tensor weight = set.declare("conv.weight", {2, 3, 1, 2}, {});  // [O, KH, KW, I]
  set.materialise(engine::Device::cpu(), 0);
  std::vector<float> values(12);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  engine::upload(weight, values);
  io::SafeTensors content;
  store(content, "net.", set);
  const io::TensorEntry& entry = content.tensors.at("net.conv.weight");
  CHECK(entry.shape == std::vector<std::int64_t>{2, 2, 3, 1});  // [O, I, KH, KW]
  std::vector<float> saved(12);
  std::memcpy(saved.data(), entry.data.data(), entry.data.size());
  CHECK(saved == std::vector<float>{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11});

  engine::ParameterSet copy;
  const engine::Tensor other = copy.declare("conv.weight", {2, 3, 1, 2}, {});
  copy.materialise(engine::Device::cpu(), 1);
  const io::testing::TemporaryFolder folder;
  io::write_safetensors(folder / "file", content);
  io::SafeTensorsFile file(folder / "file");
  restore(file, "net.", copy);
  CHECK(engine::download(other) == values);
}

TEST_CASE("a model file brings back every network") {
  const io::testing::TemporaryFolder folder;
  for (const char* architecture : {"unet", "plain"}) {
    Config config = small_config(architecture);
    config.network.norm = "batch";
    config.training.seed = 42;
    config.co_training.teacher_average = 0.9;
    Model model(engine::Device::cpu(), config, small_facts(1, 3));
    model.save(folder.path() / "model.safetensors");
    Model copy = Model::load(engine::Device::cpu(), folder.path() / "model.safetensors");
    CHECK(copy.config().to_toml() == config.to_toml());
    CHECK(copy.facts().classes == 3);
    CHECK(model.prefixes().size() == 5);
    for (const std::string& prefix : copy.prefixes())
      CHECK(engine::download(copy.network(prefix).parameters().values()) ==
            engine::download(model.network(prefix).parameters().values()));
    Model from_run = Model::load(engine::Device::cpu(), folder.path());  // a run folder
    CHECK(from_run.parameter_count() == model.parameter_count());
  }
}

TEST_CASE("a model is loaded in the precision that is asked for, whatever it was trained in") {
  const io::testing::TemporaryFolder folder;
  const auto file = folder.path() / "model.safetensors";
  Config config = small_config();
  config.training.precision = "bf16";
  Model model(engine::Device::reference(), config, small_facts());
  model.save(file);
  const auto load = [&](const std::string& precision) {
    return Model::load(engine::Device::cpu(), file,
                       [&](Config& changed) { changed.set("training.precision", precision); });
  };
  Model copy = load("f32");
  CHECK(copy.config().training.precision == "f32");
  CHECK(copy.activation_type() == DType::f32);
  CHECK(engine::download(copy.mask().parameters().values()) ==
        engine::download(model.mask().parameters().values()));
  CHECK_THROWS_AS(load("f16"), Error);
}

TEST_CASE("networks start differently, and alike for one seed") {
  const auto values = [](std::uint64_t seed) {
    Config config = small_config();
    config.training.seed = seed;
    Model model(engine::Device::cpu(), config, small_facts());
    std::vector<std::vector<float>> all;
    for (const std::string& prefix : model.prefixes())
      all.push_back(engine::download(model.network(prefix).parameters().values()));
    return all;
  };
  const auto first = values(1);
  REQUIRE(first.size() == 4);  // students 1 and 2, mask and image pathway
  CHECK(first[0] != first[1]);
  CHECK(first[0] != first[3]);
  CHECK(first == values(1));
  CHECK(first != values(2));
}

TEST_CASE("an average starts as the mask pathway does, whichever is asked for first") {
  Config config = small_config();
  config.co_training.teacher_average = 0.9;
  Model model(engine::Device::cpu(), config, small_facts());
  const std::vector<float> average = engine::download(model.average().parameters().values());
  CHECK(engine::download(model.mask().parameters().values()) == average);
}

TEST_CASE("networks that nobody asks for take no memory") {
  const io::testing::TemporaryFolder folder;
  Model model(engine::Device::cpu(), small_config(), small_facts());
  model.save(folder / "model.safetensors");
  const auto grown_by = [](auto&& work) {
    const std::size_t before = engine::memory_use().live_bytes;
    work();
    return engine::memory_use().live_bytes - before;
  };
  Model copy = Model::load(engine::Device::cpu(), folder.path());
  CHECK(copy.parameter_count() == model.parameter_count());
  const std::size_t one = grown_by([&] { copy.student(0); });
  CHECK(one >= sizeof(float) * copy.student(0).parameters().count());
  CHECK(one < sizeof(float) * copy.parameter_count() / 2);
  CHECK(grown_by([&] { copy.student(0); }) == 0);
}

TEST_CASE("a file that is cut after it was opened") {
  const io::testing::TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  Model model(engine::Device::cpu(), small_config(), small_facts());
  model.save(path);
  Model copy = Model::load(engine::Device::cpu(), path);
  const auto bytes = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, bytes / 4);
  for (int attempt = 0; attempt < 2; ++attempt)
    CHECK_THROWS_AS(copy.network(copy.prefixes().back()), io::Unreadable);
}

TEST_CASE("weights of another preset are refused with a sentence") {
  const io::testing::TemporaryFolder folder;
  Model model(engine::Device::cpu(), small_config(), small_facts());
  io::SafeTensors content = model.to_file();
  io::write_safetensors(folder / "small.safetensors", content);
  Config wide = small_config();
  wide.network.width = 16;
  Model other(engine::Device::cpu(), wide, small_facts());
  io::SafeTensorsFile small(folder / "small.safetensors");
  try {
    other.restore_from(small);
    FAIL("accepted");
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(text.find("small.safetensors") != std::string::npos);
    CHECK(text.find("another network or preset") != std::string::npos);
  }
  content.tensors.erase(content.tensors.begin());
  io::write_safetensors(folder / "less.safetensors", content);
  io::SafeTensorsFile less(folder / "less.safetensors");
  CHECK_THROWS_AS(model.restore_from(less), Error);
}

TEST_CASE("a small file that claims a large network takes no memory for it") {
  const io::testing::TemporaryFolder folder;
  Config config = small_config();
  config.network.width = 512;
  io::SafeTensors file = Model(engine::Device::cpu(), small_config(), small_facts()).to_file();
  file.metadata["config"] = config.to_toml();
  io::write_safetensors(folder / "model.safetensors", file);
  const std::size_t peak = engine::memory_use().peak_bytes;
  CHECK_THROWS_AS(Model::load(engine::Device::cpu(), folder / "model.safetensors"), Error);
  CHECK(engine::memory_use().peak_bytes == peak);
}

}  // namespace anaphase::test
