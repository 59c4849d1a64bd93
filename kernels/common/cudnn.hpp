// SPDX-License-Identifier: Apache-2.0
#pragma once

// cuDNN behind one page, in builds with ANAPHASE_CUDNN: a graph of operations becomes a plan, made
// once for each combination of sizes, types and fused parts and then run on the caller's memory.
// cuDNN's heuristics choose the engine, among those that give the same bits each time, convert no
// factors to a narrower type and sum in float; Winograd's and Fourier's transforms count as such.

#include <cudnn.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels::cudnn {

/// Throws Error for a call that failed; `what` it was meant to do.
void check(cudnnStatus_t status, const char* what);

cudnnDataType_t data_type(DType type);

/// A set of attributes; what they mean is in cuDNN's documentation of its backend descriptor types.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);

  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value);
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return set(name, attribute_type(T{}), 1, &value);
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<T>& values) {
    return set(name, attribute_type(T{}), static_cast<std::int64_t>(values.size()), values.data());
  }
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                  std::int64_t count, const void* values);
  /// From here on nothing can be set, and other descriptors may name this one.
  Descriptor& finalize();
  /// Whether cuDNN can do what is described.
  bool try_finalize();

  cudnnBackendDescriptor_t get() const { return handle_.get(); }

 private:
  static constexpr auto attribute_type(bool) { return CUDNN_TYPE_BOOLEAN; }
  static constexpr auto attribute_type(std::int64_t) { return CUDNN_TYPE_INT64; }
  static constexpr auto attribute_type(float) { return CUDNN_TYPE_FLOAT; }
  static constexpr auto attribute_type(double) { return CUDNN_TYPE_DOUBLE; }
  static constexpr auto attribute_type(cudnnDataType_t) { return CUDNN_TYPE_DATA_TYPE; }
  static constexpr auto attribute_type(cudnnBackendHeurMode_t) { return CUDNN_TYPE_HEUR_MODE; }
  static constexpr auto attribute_type(cudnnPointwiseMode_t) { return CUDNN_TYPE_POINTWISE_MODE; }
  static constexpr auto attribute_type(cudnnConvolutionMode_t) {
    return CUDNN_TYPE_CONVOLUTION_MODE;
  }
  static constexpr auto attribute_type(cudnnReduceTensorOp_t) {
    return CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;
  }

  struct Destroy {
    void operator()(cudnnBackendDescriptor_t handle) const {
      cudnnBackendDestroyDescriptor(handle);
    }
  };
  std::unique_ptr<void, Destroy> handle_;
};

struct Layout {
  cudnnDataType_t type;
  std::vector<std::int64_t> sizes, strides;
};

/// Operations on tensors. Tensors are named by reference; they live as long as the graph.
class Graph {
 public:
  /// A tensor whose memory each run is given, in the order of these calls.
  const Descriptor& argument(const Layout& layout);
  /// One float, which each run is given likewise, in memory of the host.
  const Descriptor& number();
  /// A tensor that only operations of the graph see.
  const Descriptor& intermediate(const Layout& layout);

  /// A descriptor that operations name, finalized.
  const Descriptor& keep(Descriptor descriptor);
  void add(Descriptor operation);

 private:
  friend class Plan;
  Descriptor tensor(const Layout& layout);

  std::vector<std::unique_ptr<Descriptor>> kept_;
  std::vector<cudnnBackendDescriptor_t> operations_;
  std::vector<std::int64_t> arguments_;  // by number
  std::int64_t tensors_ = 0;
};

class Plan {
 public:
  /// Null where cuDNN has no engine for the graph on the device.
  static std::unique_ptr<Plan> make(Cuda gpu, Graph graph, bool with_tensor_cores);

  std::size_t workspace_bytes() const { return workspace_bytes_; }
  /// Enqueues the operations, on the graph's arguments.
  void run(Cuda gpu, void* workspace, std::initializer_list<const void*> arguments) const;

 private:
  Plan(Graph graph, Descriptor execution);

  Graph graph_;
  Descriptor execution_;
  std::size_t workspace_bytes_;
};

/// The plan that a key stands for, which `make` makes at the first call; null where there is none.
const Plan* find_plan(Cuda gpu, std::vector<std::int64_t> key,
                      const std::function<std::unique_ptr<Plan>()>& make);

}  // namespace anaphase::kernels::cudnn
