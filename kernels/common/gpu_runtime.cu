// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu_runtime.hpp"

#include <limits>

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
namespace {

#if defined(__CUDACC__)
__global__ void probe() {}

/// Throws Error where no machine code of this program runs on the current device.
void require_machine_code(int index, const GpuFacts& facts) {
  cudaFuncAttributes attributes{};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, probe);
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    const std::string major = std::to_string(facts.major), minor = std::to_string(facts.minor);
    throw Error("this build has no kernels for CUDA device " + std::to_string(index) +
                " of compute capability " + major + "." + minor +
                ": build it with -DCMAKE_CUDA_ARCHITECTURES=" + major + minor +
                ", or use --device cpu");
  }
  check(error, "loading the kernels");
}
#endif

cudaStream_t handle(const Stream& stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

cudaMemPool_t pool_of(int index) {
  cudaMemPool_t pool{};
  check(cudaDeviceGetDefaultMemPool(&pool, index), "asking for the memory pool");
  return pool;
}

std::uint64_t pool_bytes(cudaMemPool_t pool, cudaMemPoolAttr attribute) {
  std::uint64_t bytes = 0;
  check(cudaMemPoolGetAttribute(pool, attribute, &bytes), "asking the memory pool");
  return bytes;
}

class Runtime final : public GpuRuntime {
 public:
  GpuDriver driver() const override {
    GpuDriver driver;
    const cudaError_t error = cudaGetDeviceCount(&driver.devices);
    cudaGetLastError();
    check(cudaDriverGetVersion(&driver.version), "asking for the driver's version");
    check(cudaRuntimeGetVersion(&driver.needed), "asking for the runtime's version");
    if (error == cudaSuccess) return driver;
    driver.devices = 0;
    driver.is_too_old = error == cudaErrorInsufficientDriver;
    driver.error = cudaGetErrorString(error);
    return driver;
  }

  GpuFacts facts(int index) const override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "asking for the device's properties");
    return {properties.name, properties.major, properties.minor, properties.totalGlobalMem};
  }

  void* make_stream(int index) const override {
    check(cudaSetDevice(index), "choosing the device");
#if defined(__CUDACC__)
    require_machine_code(index, facts(index));
#endif
    std::uint64_t all = std::numeric_limits<std::uint64_t>::max();
    check(cudaMemPoolSetAttribute(pool_of(index), cudaMemPoolAttrReleaseThreshold, &all),
          "setting up the memory pool");
    cudaStream_t stream{};
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
    return stream;
  }

  void free_stream(void* stream) const override {
    cudaStreamDestroy(static_cast<cudaStream_t>(stream));
  }

  void make_current(const Stream& stream) const override {
    check(cudaSetDevice(stream.index), "choosing the device");
  }

  void synchronize(const Stream& stream) const override {
    check(cudaStreamSynchronize(handle(stream)), "a kernel");
  }

  void* allocate(const Stream& stream, std::size_t bytes) const override {
    make_current(stream);
    void* data = nullptr;
    const cudaError_t error = cudaMallocAsync(&data, bytes, handle(stream));
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
    check(error, "an allocation");
    return data;
  }

  void free(const Stream& stream, void* data) const override {
    cudaFreeAsync(data, handle(stream));  // at worst the memory stays taken
  }

  std::size_t free_bytes(const Stream& stream) const override {
    make_current(stream);
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for the free memory");
    const cudaMemPool_t pool = pool_of(stream.index);
    return free + pool_bytes(pool, cudaMemPoolAttrReservedMemCurrent) -
           pool_bytes(pool, cudaMemPoolAttrUsedMemCurrent);
  }

  void* allocate_pinned(std::size_t bytes) const override {
    void* data = nullptr;
    check(cudaMallocHost(&data, bytes), "allocating pinned host memory");
    return data;
  }

  void free_pinned(void* data) const override {
    cudaFreeHost(data);
  }

  void copy(const Stream& stream, void* to, const void* from, std::size_t bytes) const override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, handle(stream)), "a copy");
  }

  void copy_rows(const Stream& stream, void* to, std::size_t to_stride, const void* from,
                 std::size_t from_stride, std::size_t row_bytes, std::size_t rows) const override {
    check(cudaMemcpy2DAsync(to, to_stride, from, from_stride, row_bytes, rows, cudaMemcpyDefault,
                            handle(stream)),
          "a copy");
  }

  void clear(const Stream& stream, void* data, std::size_t bytes) const override {
    check(cudaMemsetAsync(data, 0, bytes, handle(stream)), "clearing memory");
  }

  void* make_event() const override {
    cudaEvent_t event{};
    check(cudaEventCreateWithFlags(&event, cudaEventDefault), "making an event");
    return event;
  }

  void record(const Stream& stream, void* event) const override {
    check(cudaEventRecord(static_cast<cudaEvent_t>(event), handle(stream)), "recording an event");
  }

  void wait(void* event) const override {
    check(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "a kernel");
  }

  void hold(const Stream& stream, void* event) const override {
    check(cudaStreamWaitEvent(handle(stream), static_cast<cudaEvent_t>(event), 0),
          "waiting for an event");
  }

  double seconds(void* start, void* end) const override {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(start),
                               static_cast<cudaEvent_t>(end)),
          "taking the time");
    return 1e-3 * static_cast<double>(milliseconds);
  }

  void free_event(void* event) const override {
    cudaEventDestroy(static_cast<cudaEvent_t>(event));
  }

  void begin_capture(const Stream& stream) const override {
    check(cudaStreamBeginCapture(handle(stream), cudaStreamCaptureModeThreadLocal),
          "beginning a graph");
  }

  void* end_capture(const Stream& stream) const override {
    cudaGraph_t graph{};
    check(cudaStreamEndCapture(handle(stream), &graph), "capturing a graph");
    cudaGraphExec_t executable{};
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "making a graph");
    return executable;
  }

  void launch(const Stream& stream, void* graph) const override {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), handle(stream)), "a graph");
  }

  void free_graph(void* graph) const override {
    cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
  }
};

}  // namespace

const GpuRuntime& gpu_runtime(Gpu) {
  static const Runtime runtime;
  return runtime;
}

}  // namespace anaphase::kernels
