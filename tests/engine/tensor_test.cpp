// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor.hpp"

#include <doctest/doctest.h>

#include <cstdint>

#include "kernels/common/error.hpp"
#include "tests/engine/devices.hpp"

using namespace anaphase;
using namespace anaphase::engine;

TEST_CASE("a tensor starts as zeros, aligned, and counts in the memory's use") {
  const MemoryUse before = memory_use();
  {
    const Tensor tensor = make_tensor(Device::cpu(), {3, 5, 7}, DType::f32);
    CHECK(tensor.count() == 105);
    CHECK(tensor.bytes() == 420);
    CHECK(tensor.dim(0) == 3);
    CHECK(tensor.dim(-1) == 7);
    CHECK(to_string(tensor.shape()) == "[3, 5, 7]");
    CHECK(reinterpret_cast<std::uintptr_t>(tensor.data()) % 64 == 0);
    CHECK(download(tensor) == std::vector<float>(105, 0.0F));
    CHECK(memory_use().allocations == before.allocations + 1);
    CHECK(memory_use().live_bytes == before.live_bytes + 448);  // rounded up to 64
    CHECK(memory_use().peak_bytes >= before.live_bytes + 448);
  }
  CHECK(memory_use().live_bytes == before.live_bytes);
}

TEST_CASE("values go in and come out in every type") {
  for (const Device& device : test::devices()) {
    CAPTURE(device.name());
    const std::vector<float> values = {1, -0.5F, 3.25F, 1e10F};
    const Tensor single = make_tensor(device, {2, 2}, DType::f32);
    CHECK(download(single) == std::vector<float>(4));
    upload(single, values);
    CHECK(download(single) == values);

    const Tensor half = make_tensor(device, {4}, DType::bf16);
    upload(half, std::vector<float>{1, 1.00390625F, 1.01171875F, -2});  // ties go to the even one
    CHECK(download(half) == std::vector<float>{1, 1, 1.015625F, -2});

    const Tensor labels = make_tensor(device, {3}, DType::i32);
    upload(labels, std::vector<std::int32_t>{-1, 0, 7});
    CHECK(download_labels(labels) == std::vector<std::int32_t>{-1, 0, 7});
  }
  const Tensor one = make_tensor(Device::reference(), {1}, DType::f64);
  upload(one, std::vector<float>{0.25F});
  CHECK(download(one) == std::vector<float>{0.25F});
  CHECK(download_scalar(one) == 0.25);
}

TEST_CASE("uploads and downloads that do not fit are refused") {
  const Tensor tensor = make_tensor(Device::cpu(), {2, 3}, DType::f32);
  CHECK_THROWS_WITH_AS(upload(tensor, std::vector<float>(5)),
                       "upload of 5 values into a tensor of shape [2, 3]", Error);
  CHECK_THROWS_AS(upload(tensor, std::vector<std::int32_t>(6)), Error);
  CHECK_THROWS_AS(upload(tensor, std::vector<std::uint64_t>(6)), Error);
  CHECK_THROWS_AS(download_labels(tensor), Error);
  CHECK_THROWS_AS(download_scalar(tensor), Error);
  CHECK_THROWS_AS(download(make_tensor(Device::cpu(), {2}, DType::i32)), Error);
}

TEST_CASE("a detached tensor is another value in the same memory") {
  const Tensor tensor = make_tensor(Device::cpu(), {4}, DType::f32);
  const Tensor copy = tensor, detached = tensor.detach();
  CHECK(copy.id() == tensor.id());
  CHECK(detached.id() != tensor.id());
  CHECK(detached.data() == tensor.data());
  CHECK(Tensor{}.data() == nullptr);
  CHECK_FALSE(Tensor{}.needs_gradient());
  CHECK_FALSE(tensor.gradient());
}
