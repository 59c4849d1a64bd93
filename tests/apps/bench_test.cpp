// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "models/predictor.hpp"
#include "tests/apps/command.hpp"

using namespace anaphase;
using namespace anaphase::apps::testing;
using nlohmann::json;

namespace {

const std::string small = " --network plain --size 16 --device cpu --set network.width=8 ";

/// What the measurement writes as JSON.
json measured(const std::string& arguments) {
  const Outcome outcome = run_program("bench " + arguments + " --json -");
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  return json::parse(outcome.out);
}

void check_times(const json& row) {
  CAPTURE(row.dump());
  CHECK(row["ms_min"] > 0);
  CHECK(row["ms_min"] <= row["ms_q1"]);
  CHECK(row["ms_q1"] <= row["ms"]);
  CHECK(row["ms"] <= row["ms_q3"]);
  CHECK(row["ms_q3"] <= row["ms_max"]);
}

/// Rates follow from work and time, shares from rates and ceilings.
void check_rates(const json& row, const json& document) {
  const double seconds = row["ms"].get<double>() / 1e3;
  const auto check = [&](const char* work, const char* rate, const char* share) {
    CHECK(row[rate].get<double>() == doctest::Approx(row[work].get<double>() / seconds));
    CHECK(row[share].get<double>() == doctest::Approx(100 * row[rate].get<double>() /
                                                      document["ceilings"][rate].get<double>()));
  };
  check("gflop", "gflop_per_second", "percent_of_matrix_product");
  check("gbyte", "gbyte_per_second", "percent_of_bandwidth");
}

std::vector<float> floats(const io::TensorEntry& entry) {
  std::vector<float> values(entry.data.size() / sizeof(float));
  std::memcpy(values.data(), entry.data.data(), entry.data.size());
  return values;
}

}  // namespace

TEST_CASE("bench sampling: one row a batch size, whose numbers agree") {
  const json document =
      measured("sampling --steps 2 --batch 1 3 --repetitions 3 --threads 1 --profile" + small);
  CHECK(document["benchmark"] == "sampling");
  CHECK(document["machine"]["device"] == "cpu");
  CHECK(document["machine"]["threads"] == 1);
  CHECK(contains(document["command"].get<std::string>(), "bench sampling --steps 2"));
  CHECK(document["settings"]["width"] == 8);
  REQUIRE(document["rows"].size() == 2);
  for (const json& row : document["rows"]) {
    const double ms = row["ms"], batch = row["batch"];
    CHECK(row["samples_ms"].size() == 3);
    CHECK(row["network_calls"] == 2);
    CHECK(row["ms_per_network_call"].get<double>() == doctest::Approx(ms / 2));
    CHECK(row["ms_per_image"].get<double>() == doctest::Approx(ms / batch));
    CHECK(row["images_per_second"].get<double>() == doctest::Approx(1e3 * batch / ms));
    CHECK(row["planned_mib"] > 0);
    CHECK(row["peak_resident_mib"] > row["planned_mib"]);
    check_times(row);
    check_rates(row, document);
    double gflop = 0;
    for (const json& call : row["calls"]) gflop += call["gflop"].get<double>();
    CHECK(2 * gflop == doctest::Approx(row["gflop"].get<double>()));
  }
  CHECK(document["rows"][1]["gflop"].get<double>() ==
        doctest::Approx(3 * document["rows"][0]["gflop"].get<double>()).epsilon(0.02));
}

TEST_CASE("bench sampling: another program can repeat what --export and --dump save") {
  const TemporaryFolder folder;
  const std::string model_file = (folder / "m.safetensors").string();
  const std::string dump_file = (folder / "d.safetensors").string();
  measured(fmt::format("sampling --steps 3 --batch 2 --repetitions 1 --export '{}' --dump '{}'",
                       model_file, dump_file) +
           small);
  const io::SafeTensors dump = io::read_safetensors(dump_file);
  const std::vector<float> image = floats(dump.tensors.at("image"));
  const std::vector<float> expected = floats(dump.tensors.at("probabilities"));

  models::Model model = models::Model::load(engine::Device::cpu(), model_file);
  models::Predictor predictor(model, {.with = "teacher", .steps = 3}, 2, 16, 16);
  CHECK(predictor.probabilities(image) == expected);

  // The same by the network alone: DDIM with the coefficients of the file.
  const engine::Device cpu = engine::Device::cpu();
  const std::vector<float> c = floats(dump.tensors.at("coefficients"));
  std::vector<std::int32_t> timesteps(3);
  std::memcpy(timesteps.data(), dump.tensors.at("timesteps").data.data(), 12);
  std::vector<float> state = floats(dump.tensors.at("start")), probabilities;
  const engine::Tensor x = engine::make_tensor(cpu, {2, 16, 16, 3}, engine::DType::f32);
  engine::upload(x, image);
  for (int i = 0; i < 3; ++i) {
    engine::Eager executor(cpu);
    engine::Tape tape(executor, engine::Tape::Mode::infer);
    const engine::Tensor y = engine::make_tensor(cpu, {2, 16, 16, 2}, engine::DType::f32);
    const engine::Tensor t = engine::make_tensor(cpu, {2}, engine::DType::i32);
    engine::upload(y, state);
    engine::upload(t, std::vector<std::int32_t>(2, timesteps[i]));
    models::Randomness random;
    probabilities = engine::download(engine::softmax(
        tape, model.mask().forward(tape, engine::concat(tape, y, x), t, random, false)));
    for (std::size_t k = 0; k < state.size(); ++k) {
      const float* row = c.data() + 6 * i;
      const float clean =
          std::clamp(row[0] * state[k] + row[1] * (2 * probabilities[k] - 1), -1.0F, 1.0F);
      state[k] = row[2] * clean + row[4] * state[k];
    }
  }
  for (std::size_t k = 0; k < expected.size(); ++k)
    CHECK(probabilities[k] == doctest::Approx(expected[k]).epsilon(1e-4));
}

TEST_CASE("bench training: steps are timed, and losses of fixed input fall") {
  const TemporaryFolder folder;
  const std::string dump_file = (folder / "d.safetensors").string();
  const json document =
      measured(fmt::format("training --batch 2 --repetitions 3 --dump '{}'", dump_file) + small);
  const json row = document["rows"][0];
  const double ms = row["ms"];
  CHECK(row["steps_per_second"].get<double>() == doctest::Approx(1e3 / ms));
  CHECK(row["images_per_second"].get<double>() == doctest::Approx(2e3 / ms));
  check_times(row);
  check_rates(row, document);

  const io::SafeTensors dump = io::read_safetensors(dump_file);
  CHECK(dump.tensors.at("input").shape == std::vector<std::int64_t>{2, 16, 16, 5});
  CHECK(dump.tensors.at("labels").shape == std::vector<std::int64_t>{2, 16, 16});
  CHECK(dump.metadata.at("weight_decay") == "0.0001");
  const std::vector<float> losses = floats(dump.tensors.at("losses"));
  REQUIRE(losses.size() == 5);
  CHECK(losses[0] > losses[4]);
}

TEST_CASE("bench training: every method has a step") {
  for (const char* method : {"pretraining", "co-training", "supervised"})
    check_times(measured(fmt::format("training --method {} --batch 2 --repetitions 2", method) +
                         small)["rows"][0]);
}

TEST_CASE("bench latency: percentiles rise, and a model file tells the time to the first mask") {
  const TemporaryFolder folder;
  const std::string model_file = (folder / "m.safetensors").string();
  measured(fmt::format("sampling --steps 2 --repetitions 1 --export '{}'", model_file) + small);
  const json row = measured(
      fmt::format("latency --model '{}' --repetitions 20 --device cpu", model_file))["rows"][0];
  check_times(row);
  CHECK(row["ms"] <= row["ms_p90"]);
  CHECK(row["ms_p90"] <= row["ms_p99"]);
  CHECK(row["ms_p99"] <= row["ms_max"]);
  CHECK(row["first_call_ms"] > 0);
  // Of a process: the clock that it is started by counts in hundredths of a second.
  CHECK(row["start_to_first_mask_ms"].get<double>() + 10 >
        row["open_ms"].get<double>() + row["session_ms"].get<double>());
  CHECK(measured("latency --repetitions 2" + small)["rows"][0]["start_to_first_mask_ms"].is_null());
}

TEST_CASE("bench kernels: the calls of a step, with their shares of it") {
  for (const char* program : {"training", "sampling"}) {
    const json document =
        measured(fmt::format("kernels --program {} --batch 2 --repetitions 3", program) + small);
    double percent = 0;
    bool has_convolution = false;
    for (const json& row : document["rows"]) {
      check_times(row);
      check_rates(row, document);
      percent += row["percent_of_time"].get<double>();
      has_convolution |= row["call"] == "conv_forward" && row["reads"][0] == "[2, 16, 16, 5] f32";
    }
    CHECK(percent == doctest::Approx(100));
    CHECK(has_convolution);
  }
}

TEST_CASE("bench --paced: a repetition for every line, its milliseconds for an answer") {
  const TemporaryFolder folder;
  const std::string json_file = (folder / "paced.json").string();
  const Outcome outcome =
      run_program(fmt::format("bench sampling --steps 2 --paced --json '{}' --html '{}'", json_file,
                              (folder / "page.html").string()) +
                      small,
                  "", "a\n\nc\n");
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  std::istringstream lines(outcome.out);
  std::string line;
  std::getline(lines, line);
  CHECK(line == "ready");
  std::vector<double> milliseconds;
  while (std::getline(lines, line)) milliseconds.push_back(std::stod(line));
  const json document = json::parse(io::testing::read_bytes(json_file));
  const auto samples = document["rows"][0]["samples_ms"].get<std::vector<double>>();
  REQUIRE(milliseconds.size() == 3);
  REQUIRE(samples.size() == 3);
  for (int i = 0; i < 3; ++i) CHECK(milliseconds[i] == doctest::Approx(samples[i]));
  CHECK(contains(outcome.err, "Masks by teacher, 2 steps of ddim"));
  CHECK(contains(io::testing::read_bytes(folder / "page.html"), "<svg"));
}

TEST_CASE("bench refuses what does not go together") {
  const Outcome batches = run_program("bench sampling --paced --batch 1 2");
  CHECK(batches.code == 2);
  CHECK(contains(batches.err, "--paced and --dump go with a single --batch"));
  const Outcome unknown = run_program("bench sampling --stepz 3");
  CHECK(unknown.code == 2);
  CHECK(contains(unknown.err, "did you mean '--steps'? See `anaphase bench sampling --help`"));
  const Outcome none = run_program("bench");
  CHECK(none.code == 2);
  CHECK(contains(none.err, "see `anaphase bench --help`"));
  check_one_line_error(run_program("bench sampling --device cuda:99"), "no CUDA ");
}
