// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "engine/tensor.hpp"
#include "kernels/common/error.hpp"

namespace anaphase::engine {

/// Throws an Error that opens with the operation's name.
template <class... Args>
void check(bool holds, std::string_view operation, fmt::format_string<Args...> message,
           Args&&... args) {
  if (!holds)
    throw Error(
        fmt::format("[{}] {}", operation, fmt::format(message, std::forward<Args>(args)...)));
}

inline void check_shape(const Tensor& tensor, const Shape& expected, std::string_view operation,
                        std::string_view name) {
  check(tensor && tensor.shape() == expected, operation, "{} has shape {}, expected {}", name,
        tensor ? to_string(tensor.shape()) : "none", to_string(expected));
}

/// Of an input that a kernel reads as the type of another.
inline void check_tensor(const Tensor& tensor, const Shape& expected, DType type,
                         std::string_view operation, std::string_view name) {
  check_shape(tensor, expected, operation, name);
  check(tensor.type() == type, operation, "{} is {}, expected {}", name, name_of(tensor.type()),
        name_of(type));
}

/// Elements of a tensor without its first axis.
inline std::int64_t per_sample(const Tensor& x) {
  return x.count() / x.dim(0);
}

/// The tensor's shape without its last axis, and with another last axis.
inline Shape without_channels(const Tensor& x) {
  return {x.shape().begin(), x.shape().end() - 1};
}
inline Shape with_channels(const Tensor& x, std::int64_t channels) {
  Shape shape = x.shape();
  shape.back() = channels;
  return shape;
}

}  // namespace anaphase::engine
