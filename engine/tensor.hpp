// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/device.hpp"

namespace anaphase::engine {

using kernels::DType;
using Shape = std::vector<std::int64_t>;

std::int64_t count_of(const Shape& shape);
std::string to_string(const Shape& shape);  // "[2, 16, 16, 3]"

/// Memory of one tensor or of many views. Inside a program under construction it has no address
/// until the program is planned.
struct Storage {
  Device device;
  std::size_t bytes = 0;
  std::byte* data = nullptr;
  std::shared_ptr<std::byte> owner;  // keeps `data` alive; empty while unplanned
};

/// A dense array in channels-last order: a handle, cheap to copy, that names one value. Two handles
/// are the same value when they came from one another by copying; `detach` gives a new value in the
/// same memory.
class Tensor {
  struct Impl {
    Shape shape;
    std::int64_t count = 0;
    DType type = DType::f32;
    std::shared_ptr<Storage> storage;
    std::size_t offset = 0;
    bool needs_gradient = false;
    std::shared_ptr<Impl> gradient;
  };

 public:
  Tensor() = default;
  Tensor(Shape shape, DType type, std::shared_ptr<Storage> storage, std::size_t offset = 0);

  explicit operator bool() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl_->shape; }
  /// Extent of an axis; negative axes count from the last.
  std::int64_t dim(int axis) const;
  std::int64_t count() const { return impl_->count; }
  std::size_t bytes() const { return impl_->count * kernels::size_of(impl_->type); }
  DType type() const { return impl_->type; }
  const Device& device() const { return impl_->storage->device; }

  /// Address of the first element; null while its program is not planned, null for an empty handle.
  void* data() const;
  template <class T>
  T* as() const {
    return static_cast<T*>(data());
  }

  /// Whether a tape follows this value backwards.
  bool needs_gradient() const { return impl_ && impl_->needs_gradient; }
  /// Where a parameter's gradient is summed up; empty for all other tensors.
  Tensor gradient() const { return Tensor(impl_->gradient); }

  /// The same memory as a value without history: gradients stop here.
  Tensor detach() const;

  /// Identity of the value, for maps.
  const void* id() const { return impl_.get(); }
  const std::shared_ptr<Storage>& storage() const { return impl_->storage; }

 private:
  friend class Tape;
  friend class ParameterSet;
  explicit Tensor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

  std::shared_ptr<Impl> impl_;
};

/// A tensor with memory of its own, filled with zeros: inputs of programs, parameters, optimiser
/// state.
Tensor make_tensor(const Device& device, Shape shape, DType type);

/// Copies host values in, converted to the tensor's type; `values.size()` has to be the tensor's
/// count.
void upload(const Tensor& tensor, const std::vector<float>& values);
void upload(const Tensor& tensor, const std::vector<std::int32_t>& values);
void upload(const Tensor& tensor, const std::vector<std::uint64_t>& values);
/// Copies values out, converted to float.
std::vector<float> download(const Tensor& tensor);
std::vector<std::int32_t> download_labels(const Tensor& tensor);
/// The only value of a one-element tensor.
double download_scalar(const Tensor& tensor);

}  // namespace anaphase::engine
