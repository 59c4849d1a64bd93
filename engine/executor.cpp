// SPDX-License-Identifier: Apache-2.0
#include "engine/executor.hpp"

namespace anaphase::engine {

Tensor Eager::allocate(Shape shape, DType type) {
  auto storage = std::make_shared<Storage>();
  storage->device = device();
  storage->bytes = count_of(shape) * kernels::size_of(type);
  storage->owner = engine::allocate(device(), storage->bytes);
  storage->data = storage->owner.get();
  return {std::move(shape), type, std::move(storage)};
}

void Eager::run(Call call) {
  const kernels::Stream stream = device().stream();
  kernels::make_current(stream);
  call.body(stream);
}

}  // namespace anaphase::engine
