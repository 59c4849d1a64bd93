// SPDX-License-Identifier: Apache-2.0
// Writes inputs of model_file_fuzz: model_file_seeds FOLDER.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/models/small_model.hpp"

namespace {

using namespace anaphase;

std::string whole(const std::string& file) {
  return std::string(1, '\0') + file;
}

/// The input that stands for `file` with zeros as data.
std::string header_alone(const std::string& file) {
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  const auto data_bytes = static_cast<std::uint32_t>(file.size() - 8 - header_bytes);
  return std::string(1, '\1') +
         std::string(reinterpret_cast<const char*>(&data_bytes), sizeof data_bytes) +
         file.substr(8, header_bytes);
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
    return 2;
  }
  const std::filesystem::path folder = arguments[1], scratch = folder / "scratch";
  std::filesystem::create_directories(folder);
  const auto write = [&](const std::string& name, const std::string& input) {
    std::ofstream(folder / name, std::ios::binary) << input;
  };
  for (const char* architecture : {"unet", "plain"}) {
    models::Config config = test::small_config(architecture);
    config.training.method = "supervised";
    config.training.seed = 1;
    models::Model(engine::Device::cpu(), config, test::small_facts()).save(scratch);
    write(architecture, header_alone(bytes_of(scratch)));
  }
  io::SafeTensors few;
  few.tensors["a"] = {"F32", {2, 3}, std::vector<std::byte>(24)};
  few.tensors["b"] = {"U8", {}, std::vector<std::byte>(1)};
  few.metadata = {{"format", "anaphase"}, {"format_version", "1"}};
  io::write_safetensors(scratch, few);
  write("few", whole(bytes_of(scratch)));
  std::filesystem::remove(scratch);
}
