// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>

#include "kernels/common/error.hpp"

namespace anaphase::engine {
namespace {

using kernels::bf16;

/// Runs f(T{}) with the C++ type of a tensor of floating type.
template <class F>
auto with_float_type(DType type, F&& f) {
  switch (type) {
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    case DType::f64:
      return f(double{});
    default:
      throw Error(fmt::format("a tensor of {} holds no floating-point values", name_of(type)));
  }
}

void require_count(const Tensor& tensor, std::size_t count) {
  if (static_cast<std::size_t>(tensor.count()) != count)
    throw Error(fmt::format("upload of {} values into a tensor of shape {}", count,
                            to_string(tensor.shape())));
}

template <class T>
void upload_exact(const Tensor& tensor, const std::vector<T>& values) {
  require_count(tensor, values.size());
  if (tensor.type() != kernels::dtype_of<T>)
    throw Error(fmt::format("upload of {} into a tensor of {}", name_of(kernels::dtype_of<T>),
                            name_of(tensor.type())));
  copy_to_device(tensor.device(), tensor.data(), values.data(), tensor.bytes());
}

template <class T>
std::vector<T> download_raw(const Tensor& tensor) {
  std::vector<T> values(tensor.count());
  copy_to_host(tensor.device(), values.data(), tensor.data(), tensor.bytes());
  return values;
}

}  // namespace

std::int64_t count_of(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Tensor::Tensor(Shape shape, DType type, std::shared_ptr<Storage> storage, std::size_t offset)
    : impl_(std::make_shared<Impl>()) {
  impl_->count = count_of(shape);
  impl_->shape = std::move(shape);
  impl_->type = type;
  impl_->storage = std::move(storage);
  impl_->offset = offset;
}

std::int64_t Tensor::dim(int axis) const {
  const int rank = static_cast<int>(impl_->shape.size());
  return impl_->shape.at(axis < 0 ? rank + axis : axis);
}

void* Tensor::data() const {
  if (!impl_ || !impl_->storage || !impl_->storage->data) return nullptr;
  return impl_->storage->data + impl_->offset;
}

Tensor Tensor::detach() const {
  return {impl_->shape, impl_->type, impl_->storage, impl_->offset};
}

Tensor make_tensor(const Device& device, Shape shape, DType type) {
  auto storage = std::make_shared<Storage>();
  storage->device = device;
  storage->bytes = count_of(shape) * kernels::size_of(type);
  storage->owner = allocate(device, storage->bytes);
  storage->data = storage->owner.get();
  clear(device, storage->data, storage->bytes);
  return {std::move(shape), type, std::move(storage)};
}

void upload(const Tensor& tensor, const std::vector<float>& values) {
  if (tensor.type() == DType::f32) return upload_exact(tensor, values);
  require_count(tensor, values.size());
  with_float_type(tensor.type(), [&]<class T>(T) {
    std::vector<T> converted(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) converted[i] = T(values[i]);
    upload_exact(tensor, converted);
  });
}

void upload(const Tensor& tensor, const std::vector<std::int32_t>& values) {
  upload_exact(tensor, values);
}

void upload(const Tensor& tensor, const std::vector<std::uint64_t>& values) {
  upload_exact(tensor, values);
}

std::vector<float> download(const Tensor& tensor) {
  return with_float_type(tensor.type(), [&]<class T>(T) {
    const std::vector<T> raw = download_raw<T>(tensor);
    std::vector<float> values(raw.size());
    for (std::size_t i = 0; i < raw.size(); ++i) values[i] = static_cast<float>(raw[i]);
    return values;
  });
}

std::vector<std::int32_t> download_labels(const Tensor& tensor) {
  if (tensor.type() != DType::i32)
    throw Error(fmt::format("a tensor of {} holds no labels", name_of(tensor.type())));
  return download_raw<std::int32_t>(tensor);
}

double download_scalar(const Tensor& tensor) {
  if (tensor.count() != 1)
    throw Error(fmt::format("a tensor of shape {} is not one value", to_string(tensor.shape())));
  return with_float_type(tensor.type(), [&]<class T>(T) {
    return static_cast<double>(download_raw<T>(tensor).front());
  });
}

}  // namespace anaphase::engine
