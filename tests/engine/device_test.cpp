// SPDX-License-Identifier: Apache-2.0
#include "engine/device.hpp"

#include <doctest/doctest.h>

#include "kernels/common/error.hpp"
#include "tests/engine/devices.hpp"

using namespace anaphase;
using namespace anaphase::engine;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What `name` is refused with; empty where it is not.
std::string refusal(const std::string& name) {
  try {
    Device::parse(name);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

/// What keeps device `index` from use.
std::string obstacle(const kernels::GpuDriver& driver, int index = 0,
                     const kernels::GpuFacts& facts = {"A GPU", 8, 0, 0}) {
  return cuda_obstacle(driver, index, [&](int) { return facts; });
}

}  // namespace

TEST_CASE("devices are named, parsed and refused") {
  CHECK(Device::parse("cpu").name() == "cpu");
  CHECK(Device::reference().float_type() == DType::f64);
  CHECK(Device::cpu().float_type() == DType::f32);
  CHECK_FALSE(Device::cpu() == Device::reference());
  for (const Device& gpu : test::gpus()) {
    CHECK(Device::parse(gpu.name()) == gpu);
    CHECK_FALSE(gpu == Device::cpu());
    CHECK(gpu.is_gpu());
    CHECK(gpu.float_type() == DType::f32);
    CHECK_NOTHROW(gpu.require_support(DType::bf16));
  }
  for (const char* name : {"gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:0x", "cuda0", "CPU"})
    CHECK(refusal(name) ==
          std::string("unknown device '") + name + "': use auto, cpu, cuda, cuda:N or simt");
}

TEST_CASE("auto is a CUDA device where there is one, else the processor") {
  CHECK(Device::parse("auto").name() == (why_no_cuda().empty() ? "cuda:0" : "cpu"));
  CHECK(refusal("cuda") == why_no_cuda());
  if (!kernels::has_cuda)
    CHECK(why_no_cuda() ==
          "this build has no CUDA kernels: build it where nvcc is (-DANAPHASE_CUDA=ON), or use "
          "--device cpu");
  if (!kernels::has_simt) CHECK(contains(refusal("simt"), "-DANAPHASE_SIMT=ON"));
}

TEST_CASE("every device is described, or why it cannot be used") {
  const auto described = describe_devices();
  const auto text = [&](const std::string& wanted) -> std::string {
    for (const auto& [name, description] : described)
      if (name == wanted) return description;
    return {};
  };
  CHECK(!text("cpu").empty());
  if (kernels::has_simt) CHECK(contains(text("simt"), "compute capability"));
  if (why_no_cuda().empty())
    CHECK(contains(text("cuda:0"), "compute capability"));
  else
    CHECK((text("cuda") + text("cuda:0")) == why_no_cuda());
}

TEST_CASE("what keeps a CUDA device from use is one sentence") {
  const kernels::GpuDriver good{.devices = 2, .version = 13000, .needed = 12040};
  CHECK(obstacle(good).empty());
  CHECK(obstacle(good, 1).empty());
  CHECK(obstacle(good, 2) == "no CUDA device 2: there are cuda:0 to cuda:1");
  CHECK(obstacle({.devices = 1, .version = 12040, .needed = 12040}, 3) ==
        "no CUDA device 3: there is only cuda:0");
  CHECK(obstacle({.needed = 13000, .is_too_old = true, .error = "insufficient"}) ==
        "no CUDA device: no NVIDIA driver is installed; install one, or use --device cpu");
  CHECK(
      obstacle({.version = 11040, .needed = 13000, .is_too_old = true, .error = "insufficient"}) ==
      "no CUDA device: the NVIDIA driver supports CUDA 11.4 and this program needs 13.0: update "
      "the driver, or use --device cpu");
  CHECK(obstacle({.version = 13000, .needed = 13000, .error = "no device is detected"}) ==
        "no CUDA device: no device is detected; use --device cpu");
  CHECK(obstacle({.version = 13000, .needed = 13000}) ==
        "no CUDA device: the NVIDIA driver finds none; use --device cpu");
  CHECK(obstacle(good, 1, {"GTX 1080", 6, 1, 0}) ==
        "CUDA device 1 (GTX 1080) has compute capability 6.1: 7.5 or newer is needed; use --device "
        "cpu");
  CHECK(!obstacle(good, 0, {"V100", 7, 0, 0}).empty());
  CHECK(obstacle(good, 0, {"T4", 7, 5, 0}).empty());
  CHECK(obstacle(good, 0, {"B200", 10, 0, 0}).empty());
}

TEST_CASE("a GPU without enough memory says what was asked and what is free") {
  for (const Device& gpu : test::gpus()) {
    std::string message;
    try {
      allocate(gpu, std::size_t{1} << 50);
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK(message.starts_with("out of memory on " + gpu.name() + ": 1073741824.0 MiB asked, "));
    CHECK(message.ends_with(" MiB free; use a smaller batch or image size"));
    CHECK(allocate(gpu, 8) != nullptr);  // the device can still be used
  }
}
