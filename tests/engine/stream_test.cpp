// SPDX-License-Identifier: Apache-2.0
#include "engine/stream.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "engine/executor.hpp"
#include "kernels/elementwise/elementwise.hpp"
#include "tests/engine/devices.hpp"

using namespace anaphase;
using namespace anaphase::engine;

namespace {

void fill(const Tensor& tensor, double value) {
  kernels::launch(tensor.device().stream(),
                  kernels::Fill{tensor.count(), tensor.type(), value, tensor.data()});
}

}  // namespace

TEST_CASE("events take the time between points of a queue") {
  for (const Device& device : test::devices()) {
    Event start(device.stream()), end(device.stream());
    start.wait();  // has not been recorded: does not wait
    const Tensor tensor = make_tensor(device, {1 << 16}, DType::f32);
    start.record();
    fill(tensor, 1);
    end.record();
    end.wait();
    CHECK(end.seconds_since(start) > 0);
    CHECK(end.seconds_since(start) < 60);
  }
}

TEST_CASE("a graph makes its calls when it is launched, as often as it is launched") {
  for (const Device& gpu : test::gpus()) {
    const Tensor x = make_tensor(gpu, {3}, DType::f32), y = make_tensor(gpu, {3}, DType::f32);
    CHECK_FALSE(Graph());
    const Graph graph(gpu.stream(), [&] {
      kernels::launch(
          gpu.stream(),
          kernels::AddScaled{
              .count = 3, .type = DType::f32, .a = y.data(), .b = x.data(), .y = y.data()});
    });
    CHECK(graph);
    CHECK(download(y) == std::vector<float>{0, 0, 0});
    upload(x, std::vector<float>{1, 2, 3});
    graph.launch();
    CHECK(download(y) == std::vector<float>{1, 2, 3});
    upload(x, std::vector<float>{1, 1, 1});
    graph.launch();
    graph.launch();
    CHECK(download(y) == std::vector<float>{3, 4, 5});
  }
}

TEST_CASE("a capture that fails passes the error on and leaves the stream usable") {
  for (const Device& gpu : test::gpus()) {
    const Tensor tensor = make_tensor(gpu, {2}, DType::f32);
    CHECK_THROWS_WITH_AS(Graph(gpu.stream(),
                               [&] {
                                 fill(tensor, 1);
                                 throw std::runtime_error("in the middle");
                               }),
                         "in the middle", std::runtime_error);
    CHECK(download(tensor) == std::vector<float>{0, 0});
    fill(tensor, 2);
    CHECK(download(tensor) == std::vector<float>{2, 2});
  }
}

// The two halves of the pinned memory hold 32 MiB together; this passes through each of them twice.
TEST_CASE("uploads larger than the pinned memory arrive whole, small ones in their order") {
  for (const Device& gpu : test::gpus()) {
    const Tensor large = make_tensor(gpu, {17 << 20}, DType::i32);
    std::vector<std::int32_t> values(large.count());
    std::iota(values.begin(), values.end(), 0);
    upload(large, values);
    CHECK(download_labels(large) == values);
    const Tensor one = make_tensor(gpu, {1}, DType::i32);
    for (std::int32_t i = 0; i < 1000; ++i) upload(one, std::vector<std::int32_t>{i});
    CHECK(download_labels(one) == std::vector<std::int32_t>{999});
  }
}

TEST_CASE("a queue of a device's own goes on where another one has come to a point") {
  for (const Device& device : test::devices()) {
    const Device own = device.with_own_queue();
    CHECK(own == device);
    CHECK(own.name() == device.name());
    CHECK((own.stream().handle != device.stream().handle) == device.is_gpu());
    const Tensor tensor = make_tensor(device, {1 << 16}, DType::f32);
    Event filled(own.stream());
    fill(tensor, 3);
    filled.record(device.stream());
    filled.hold(own.stream());
    Tensor copy;
    {
      const Device another = own;
      copy = make_tensor(another, {1 << 16}, DType::f32);
      kernels::launch(another.stream(), kernels::Cast{copy.count(), DType::f32, DType::f32,
                                                      tensor.data(), copy.data()});
    }
    const std::vector<float> values = download(copy);
    CHECK(std::count(values.begin(), values.end(), 3.0F) == (1 << 16));
  }
}

TEST_CASE("the last tensor of a device's own queue keeps it") {
  for (const Device& gpu : test::gpus()) {
    const Tensor tensor = make_tensor(gpu.with_own_queue(), {100}, DType::f32);
    upload(tensor, std::vector<float>(100, 2.0F));
    CHECK(download(tensor) == std::vector<float>(100, 2.0F));
  }
}
