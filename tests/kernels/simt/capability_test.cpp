// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>

#include "kernels/common/error.hpp"
#include "tests/kernels/simt/device_array.hpp"
#include "tests/kernels/simt/kernels.hpp"

using namespace anaphase;

namespace {

int capability() {
  return 10 * simt::limits().major + simt::limits().minor;
}

/// What ANAPHASE_SIMT_ARCH asks for; CTest runs this file with and without it.
int default_capability() {
  const char* named = std::getenv("ANAPHASE_SIMT_ARCH");
  return named ? std::atoi(named) : 80;
}

}  // namespace

TEST_CASE("the environment names the device") {
  CHECK(capability() == default_capability());
}

TEST_CASE("each device has its limits, and matrix instructions from 8.0 on") {
  // CUDA Programming Guide, "Compute Capabilities": KiB of shared memory a block.
  const std::map<int, std::size_t> kilobytes{{75, 64},  {80, 163},  {86, 99}, {89, 99},
                                             {90, 227}, {100, 227}, {120, 99}};
  for (const auto& [arch, most] : kilobytes) {
    CAPTURE(arch);
    simt::set_architecture(arch);
    CHECK(capability() == arch);
    int value = 0;
    simt::runtime::cudaDeviceGetAttribute(
        &value, simt::runtime::cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
    CHECK(static_cast<std::size_t>(value) == most << 10);
    CHECK_NOTHROW(test::launch_empty(1, 32, most << 10));
    CHECK_THROWS_AS(test::launch_empty(1, 32, (most << 10) + 1), Error);

    const test::DeviceArray<float> a(128), b(64), d(128);
    const auto multiply = [&] { test::multiply_tf32(a.data(), b.data(), d.data()); };
    if (arch >= 80)
      CHECK_NOTHROW(multiply());
    else
      CHECK_THROWS_WITH_AS(multiply(), doctest::Contains("needs a device of compute capability 8"),
                           Error);
  }
  CHECK_THROWS_AS(simt::set_architecture(70), simt::Fault);
  simt::set_architecture(default_capability());
}

TEST_CASE("extents of grids and blocks") {
  CHECK_NOTHROW(test::launch_empty(1, simt::dim3(16, 1, 64), 0));
  CHECK_THROWS_AS(test::launch_empty(1, simt::dim3(1, 1, 65), 0), Error);
  CHECK_THROWS_AS(test::launch_empty(1, simt::dim3(32, 33), 0), Error);
  CHECK_NOTHROW(test::launch_empty(simt::dim3(1, 65535), 1, 0));
  CHECK_THROWS_AS(test::launch_empty(simt::dim3(1, 65536), 32, 0), Error);
  CHECK_THROWS_AS(test::launch_empty(simt::dim3(1, 1, 65536), 32, 0), Error);
}
