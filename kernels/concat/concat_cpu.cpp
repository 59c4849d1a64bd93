// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.hpp"
#include "kernels/concat/concat.hpp"

namespace anaphase::kernels {
namespace {

/// Rows of the same length, a distance apart.
template <class Byte>
struct Rows {
  Byte* first;
  std::size_t apart;

  Byte* at(std::int64_t row) const { return first + row * apart; }
};

using From = Rows<const std::byte>;
using To = Rows<std::byte>;

template <std::size_t Bytes>
void copy_short(const From& from, const To& to, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) std::memcpy(to.at(row), from.at(row), Bytes);
}

/// Rows [begin, end), of `bytes` bytes: those of few channels are not worth a call each.
void copy_rows(const From& from, const To& to, std::size_t bytes, std::int64_t begin,
               std::int64_t end) {
  switch (bytes) {
    case 4:
      return copy_short<4>(from, to, begin, end);
    case 6:
      return copy_short<6>(from, to, begin, end);
    case 8:
      return copy_short<8>(from, to, begin, end);
    case 12:
      return copy_short<12>(from, to, begin, end);
    default:
      for (std::int64_t row = begin; row < end; ++row) std::memcpy(to.at(row), from.at(row), bytes);
  }
}

/// copy(begin, end) for blocks of the op's rows.
template <class Op, class Copy>
void for_each_block(const Op& op, const Copy& copy) {
  constexpr std::int64_t block = 64;  // rows, whose parts stay in the cache
  parallel_for(chunks_of(op.rows, block), block * (op.channels_a + op.channels_b),
               [&](std::int64_t i) { copy(i * block, std::min(op.rows, (i + 1) * block)); });
}

}  // namespace

void run(Cpu, const Concat& op) {
  const std::size_t bytes_a = op.channels_a * size_of(op.type);
  const std::size_t bytes_b = op.channels_b * size_of(op.type);
  const From a{static_cast<const std::byte*>(op.a), bytes_a};
  const From b{static_cast<const std::byte*>(op.b), bytes_b};
  auto* y = static_cast<std::byte*>(op.y);
  for_each_block(op, [&](std::int64_t begin, std::int64_t end) {
    copy_rows(a, {y, bytes_a + bytes_b}, bytes_a, begin, end);
    copy_rows(b, {y + bytes_a, bytes_a + bytes_b}, bytes_b, begin, end);
  });
}

void run(Cpu, const Split& op) {
  const std::size_t bytes_a = op.channels_a * size_of(op.type);
  const std::size_t bytes_b = op.channels_b * size_of(op.type);
  const auto* y = static_cast<const std::byte*>(op.y);
  for_each_block(op, [&](std::int64_t begin, std::int64_t end) {
    const From a{y, bytes_a + bytes_b}, b{y + bytes_a, bytes_a + bytes_b};
    if (op.a) copy_rows(a, {static_cast<std::byte*>(op.a), bytes_a}, bytes_a, begin, end);
    if (op.b) copy_rows(b, {static_cast<std::byte*>(op.b), bytes_b}, bytes_b, begin, end);
  });
}

}  // namespace anaphase::kernels
