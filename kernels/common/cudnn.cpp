// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/cudnn.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>

namespace anaphase::kernels::cudnn {
namespace {

/// Engines that take a graph, best first, as cuDNN's heuristics of a mode see it.
std::vector<Descriptor> engines_of(const Descriptor& device, const Descriptor& graph,
                                   cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  if (!heuristics.try_finalize()) return {};
  std::int64_t count = 0;
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
        "counting engines");
  std::vector<Descriptor> engines;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (std::int64_t i = 0; i < count; ++i)
    handles.push_back(engines.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, handles.data()),
        "listing engines");
  engines.erase(engines.begin() + count, engines.end());
  return engines;
}

/// Whether an engine computes as the contracts of our operations want it.
bool is_admitted(const Descriptor& configuration, bool with_tensor_cores) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t handle = engine.get();
  std::int64_t count = 0;
  check(cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &handle),
        "asking for an engine");
  std::vector<cudnnBackendNumericalNote_t> notes(CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  check(cudnnBackendGetAttribute(engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                 CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count,
                                 notes.data()),
        "asking how an engine computes");
  notes.resize(count);
  return std::none_of(notes.begin(), notes.end(), [&](cudnnBackendNumericalNote_t note) {
    return note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC ||
           note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
           note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
           (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE && !with_tensor_cores);
  });
}

/// cuDNN's state for the calling thread, which no two threads may use at once.
cudnnHandle_t handle_of(Cuda gpu) {
  thread_local std::map<int, cudnnHandle_t> handles;  // as streams, never destroyed
  cudnnHandle_t& handle = handles[gpu.index];
  if (!handle) check(cudnnCreate(&handle), "starting cuDNN");
  check(cudnnSetStream(handle, static_cast<cudaStream_t>(gpu.stream)), "giving cuDNN a stream");
  return handle;
}

}  // namespace

void check(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char reason[1024] = "";
  cudnnGetLastErrorString(reason, sizeof reason);
  throw Error(std::string("cuDNN failed at ") + what + ": " + cudnnGetErrorString(status) +
              (*reason ? std::string(", ") + reason : ""));
}

cudnnDataType_t data_type(DType type) {
  switch (type) {
    case DType::f32:
      return CUDNN_DATA_FLOAT;
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    default:
      throw Error("a GPU computes in f32 and bf16: use one of these types");
  }
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t handle{};
  check(cudnnBackendCreateDescriptor(type, &handle), "making a descriptor");
  handle_.reset(handle);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  const cudnnBackendDescriptor_t handle = value.get();
  return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &handle);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                            std::int64_t count, const void* values) {
  check(cudnnBackendSetAttribute(get(), name, type, count, values), "setting an attribute");
  return *this;
}

Descriptor& Descriptor::finalize() {
  check(cudnnBackendFinalize(get()), "finalizing a descriptor");
  return *this;
}

bool Descriptor::try_finalize() {
  return cudnnBackendFinalize(get()) == CUDNN_STATUS_SUCCESS;
}

Descriptor Graph::tensor(const Layout& layout) {
  constexpr std::int64_t alignment = 16;  // least of all arguments: heads lie inside of tensors
  Descriptor tensor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, ++tensors_)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, layout.type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, layout.sizes)
      .set(CUDNN_ATTR_TENSOR_STRIDES, layout.strides)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment);
  return tensor;
}

const Descriptor& Graph::argument(const Layout& layout) {
  arguments_.push_back(tensors_ + 1);
  return keep(tensor(layout));
}

const Descriptor& Graph::number() {
  arguments_.push_back(tensors_ + 1);
  const std::vector<std::int64_t> one(4, 1);
  Descriptor number = tensor({CUDNN_DATA_FLOAT, one, one});
  number.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, true);
  return keep(std::move(number));
}

const Descriptor& Graph::intermediate(const Layout& layout) {
  Descriptor intermediate = tensor(layout);
  intermediate.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
  return keep(std::move(intermediate));
}

const Descriptor& Graph::keep(Descriptor descriptor) {
  descriptor.finalize();
  return *kept_.emplace_back(std::make_unique<Descriptor>(std::move(descriptor)));
}

void Graph::add(Descriptor operation) {
  operations_.push_back(keep(std::move(operation)).get());
}

Plan::Plan(Graph graph, Descriptor execution)
    : graph_(std::move(graph)), execution_(std::move(execution)) {
  std::int64_t count = 0, bytes = 0;
  check(cudnnBackendGetAttribute(execution_.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                 CUDNN_TYPE_INT64, 1, &count, &bytes),
        "asking for a plan's workspace");
  workspace_bytes_ = static_cast<std::size_t>(bytes);
}

std::unique_ptr<Plan> Plan::make(Cuda gpu, Graph graph, bool with_tensor_cores) {
  Descriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  device.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1, &gpu.index).finalize();
  Descriptor operations(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  operations.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                 static_cast<std::int64_t>(graph.operations_.size()), graph.operations_.data());
  if (!operations.try_finalize()) return nullptr;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
    for (const Descriptor& engine : engines_of(device, operations, mode)) {
      if (!is_admitted(engine, with_tensor_cores)) continue;
      Descriptor execution(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      execution.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine)
          .set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device);
      if (!execution.try_finalize()) continue;
      return std::unique_ptr<Plan>(new Plan(std::move(graph), std::move(execution)));
    }
  return nullptr;
}

void Plan::run(Cuda gpu, void* workspace, std::initializer_list<const void*> arguments) const {
  Descriptor memory(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  memory.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, graph_.arguments_)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
           static_cast<std::int64_t>(arguments.size()), arguments.begin())
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace)
      .finalize();
  check(cudnnBackendExecute(handle_of(gpu), execution_.get(), memory.get()), "running a plan");
}

const Plan* find_plan(Cuda gpu, std::vector<std::int64_t> key,
                      const std::function<std::unique_ptr<Plan>()>& make) {
  static std::mutex mutex;
  static std::map<std::vector<std::int64_t>, std::unique_ptr<Plan>> plans;
  key.push_back(gpu.index);
  const std::lock_guard lock(mutex);
  auto place = plans.find(key);
  if (place == plans.end()) place = plans.emplace(std::move(key), make()).first;
  return place->second.get();
}

}  // namespace anaphase::kernels::cudnn
