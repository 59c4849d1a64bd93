// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/common/parallel.hpp"
#include "kernels/concat/concat.hpp"

namespace anaphase::kernels {

void run(Cpu, const Concat& op) {
  const std::size_t bytes_a = op.channels_a * size_of(op.type);
  const std::size_t bytes_b = op.channels_b * size_of(op.type);
  parallel_for(op.rows, op.channels_a + op.channels_b, [&](std::int64_t r) {
    auto* y = static_cast<std::byte*>(op.y) + r * (bytes_a + bytes_b);
    std::memcpy(y, static_cast<const std::byte*>(op.a) + r * bytes_a, bytes_a);
    std::memcpy(y + bytes_a, static_cast<const std::byte*>(op.b) + r * bytes_b, bytes_b);
  });
}

void run(Cpu, const Split& op) {
  const std::size_t bytes_a = op.channels_a * size_of(op.type);
  const std::size_t bytes_b = op.channels_b * size_of(op.type);
  parallel_for(op.rows, op.channels_a + op.channels_b, [&](std::int64_t r) {
    const auto* y = static_cast<const std::byte*>(op.y) + r * (bytes_a + bytes_b);
    if (op.a) std::memcpy(static_cast<std::byte*>(op.a) + r * bytes_a, y, bytes_a);
    if (op.b) std::memcpy(static_cast<std::byte*>(op.b) + r * bytes_b, y + bytes_a, bytes_b);
  });
}

}  // namespace anaphase::kernels
