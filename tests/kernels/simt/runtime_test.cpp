// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/runtime.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/common/error.hpp"
#include "tests/kernels/simt/device_array.hpp"
#include "tests/kernels/simt/kernels.hpp"

using namespace anaphase;
using namespace anaphase::simt::runtime;
using test::DeviceArray;

namespace {

struct Stream {
  cudaStream_t handle = nullptr;
  Stream() { REQUIRE(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking) == cudaSuccess); }
  ~Stream() { cudaStreamDestroy(handle); }
};

}  // namespace

TEST_CASE("memory: allocated as NaN, aligned, copied, filled, freed") {
  void* data = nullptr;
  REQUIRE(cudaMalloc(&data, 100 * sizeof(float)) == cudaSuccess);
  CHECK(reinterpret_cast<std::uintptr_t>(data) % 256 == 0);
  std::vector<float> host(100);
  REQUIRE(cudaMemcpyAsync(host.data(), data, 400, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
  for (const float value : host) CHECK(std::isnan(value));
  REQUIRE(cudaMemsetAsync(data, 0, 200, nullptr) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(host.data(), data, 400, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
  CHECK(host[49] == 0);
  CHECK(std::isnan(host[50]));
  CHECK(cudaMemcpyAsync(data, host.data(), 401, cudaMemcpyHostToDevice, nullptr) ==
        cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(data, 0, 401, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaFree(data) == cudaSuccess);
  CHECK(cudaFree(nullptr) == cudaSuccess);

  std::size_t free = 0, total = 0;
  REQUIRE(cudaMemGetInfo(&free, &total) == cudaSuccess);
  CHECK(free > 0);
  CHECK(free <= total);
  CHECK(cudaMalloc(&data, std::size_t{1} << 60) == cudaErrorMemoryAllocation);
}

TEST_CASE("rows are copied within both memories, and nothing between them") {
  void* data = nullptr;
  REQUIRE(cudaMalloc(&data, 20) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(data, 0, 20, nullptr) == cudaSuccess);
  const std::string_view from = "abcdefghijkl";  // rows of 3 in 4
  const auto copy = [&](std::size_t to_pitch, std::size_t width, std::size_t height) {
    return cudaMemcpy2DAsync(data, to_pitch, from.data(), 4, width, height, cudaMemcpyDefault,
                             nullptr);
  };
  REQUIRE(copy(8, 3, 3) == cudaSuccess);
  std::string host(20, 'x');
  REQUIRE(cudaMemcpyAsync(host.data(), data, 20, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
  const std::string gap(5, '\0');
  CHECK(host == "abc" + gap + "efg" + gap + "ijk" + std::string(1, '\0'));
  CHECK(copy(9, 3, 3) == cudaErrorInvalidValue);  // 21 bytes
  CHECK(copy(2, 3, 3) == cudaErrorInvalidValue);
  CHECK(copy(8, 5, 2) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(copy(9, 3, 0) == cudaSuccess);
  CHECK(cudaFree(data) == cudaSuccess);
}

TEST_CASE("one device") {
  int value = -1;
  CHECK(cudaGetDeviceCount(&value) == cudaSuccess);
  CHECK(value == 1);
  CHECK(cudaSetDevice(0) == cudaSuccess);
  CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
  CHECK(cudaGetDevice(&value) == cudaSuccess);
  CHECK(value == 0);
  cudaGetLastError();
}

TEST_CASE("streams and events") {
  const Stream stream;
  cudaEvent_t start{}, end{};
  REQUIRE(cudaEventCreate(&start) == cudaSuccess);
  REQUIRE(cudaEventCreateWithFlags(&end, cudaEventDefault) == cudaSuccess);
  const DeviceArray<float> x(std::vector<float>(70, 2.0F));
  CHECK(cudaEventRecord(start, stream.handle) == cudaSuccess);
  test::scale_and_add(stream.handle, 70, 3, x.data());
  CHECK(cudaEventRecord(end, stream.handle) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(nullptr, end) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream.handle) == cudaSuccess);
  CHECK(cudaStreamQuery(stream.handle) == cudaSuccess);
  CHECK(cudaEventQuery(end) == cudaSuccess);
  CHECK(x.values() == std::vector<float>(70, 7.0F));
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaSuccess);
  CHECK(milliseconds > 0);
  cudaEventDestroy(start);
  cudaEventDestroy(end);
}

TEST_CASE("a graph runs when it is launched, as often as it is") {
  const Stream stream;
  const DeviceArray<float> x(std::vector<float>(50, 1.0F)), copy(50);
  REQUIRE(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  test::scale_and_add(stream.handle, 50, 2, x.data());
  REQUIRE(cudaMemcpyAsync(copy.data(), x.data(), 200, cudaMemcpyDeviceToDevice, stream.handle) ==
          cudaSuccess);
  REQUIRE(cudaMemsetAsync(x.data(), 0, sizeof(float), stream.handle) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream.handle) == cudaErrorStreamCaptureUnsupported);
  void* data = nullptr;
  CHECK(cudaMallocAsync(&data, 4, stream.handle) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal) ==
        cudaErrorInvalidValue);
  cudaGraph_t graph{};
  REQUIRE(cudaStreamEndCapture(stream.handle, &graph) == cudaSuccess);
  CHECK(x.values() == std::vector<float>(50, 1.0F));

  cudaGraphExec_t executable{};
  REQUIRE(cudaGraphInstantiate(&executable, graph) == cudaSuccess);
  REQUIRE(cudaGraphDestroy(graph) == cudaSuccess);
  for (const float expected : {3.0F, 7.0F, 15.0F}) {
    REQUIRE(cudaGraphLaunch(executable, stream.handle) == cudaSuccess);
    CHECK(copy.values()[49] == expected);
    CHECK(x.values()[0] == 0);
  }
  CHECK(copy.values()[0] == 1);
  cudaGraphExecDestroy(executable);
  CHECK(cudaStreamEndCapture(stream.handle, &graph) == cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST_CASE("what is wrong with a launch is said where it is launched, in a graph when it runs") {
  const Stream stream;
  const DeviceArray<float> x(10);
  REQUIRE(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  test::scale_and_add(stream.handle, 11, 2, x.data());
  cudaGraph_t graph{};
  REQUIRE(cudaStreamEndCapture(stream.handle, &graph) == cudaSuccess);
  cudaGraphExec_t executable{};
  REQUIRE(cudaGraphInstantiate(&executable, graph) == cudaSuccess);
  CHECK(cudaGraphLaunch(executable, stream.handle) == cudaErrorLaunchFailure);
  CHECK(std::string_view(cudaGetErrorString(cudaErrorLaunchFailure)).find("past the end") !=
        std::string_view::npos);
  cudaGetLastError();
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  CHECK_THROWS_AS(test::scale_and_add(stream.handle, 11, 2, x.data()), Error);
}
