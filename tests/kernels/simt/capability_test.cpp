// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <map>
#include <vector>

#include "kernels/common/error.hpp"
#include "tests/kernels/simt/device_array.hpp"
#include "tests/kernels/simt/kernels.hpp"

// Runs once for each of several values of ANAPHASE_SIMT_ARCH.

using namespace anaphase;

TEST_CASE("the device has the limits of the compute capability that was asked for") {
  const int capability = 10 * simt::limits().major + simt::limits().minor;
  const std::map<int, std::size_t> kilobytes{{75, 64},  {80, 163},  {86, 99}, {89, 99},
                                             {90, 227}, {100, 227}, {120, 99}};
  const std::size_t most = kilobytes.at(capability) << 10;
  int value = 0;
  simt::runtime::cudaDeviceGetAttribute(&value,
                                        simt::runtime::cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  CHECK(static_cast<std::size_t>(value) == most);
  test::launch_empty(1, 32, most);
  CHECK_THROWS_AS(test::launch_empty(1, 32, most + 1), Error);
  CHECK_NOTHROW(test::launch_empty(1, simt::dim3(16, 1, 64), 0));
  CHECK_THROWS_AS(test::launch_empty(1, simt::dim3(1, 1, 65), 0), Error);
  CHECK_THROWS_AS(test::launch_empty(simt::dim3(1, 65536), 32, 0), Error);
}

TEST_CASE("matrix instructions need compute capability 8.0") {
  const test::DeviceArray<float> a(128), b(64), d(128);
  const auto multiply = [&] { test::multiply_tf32(a.data(), b.data(), d.data()); };
  if (simt::limits().major >= 8)
    CHECK_NOTHROW(multiply());
  else
    CHECK_THROWS_WITH_AS(multiply(), doctest::Contains("needs a device of compute capability 8.0"),
                         Error);
}
