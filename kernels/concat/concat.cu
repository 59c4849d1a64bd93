// SPDX-License-Identifier: Apache-2.0
#include "kernels/concat/concat.hpp"

#include "kernels/common/gpu/launch.cuh"

// Two tensors interleaved row by row, and the inverse.
//
// Bytes: each element read once and written once, the least possible; no arithmetic. Elements are
// moved as units of 16 bytes where both tensors' rows consist of such (channels in multiples of 4
// in f32, of 8 in bf16), else of 8, 4 or 2: a copy does not ask for their type. Neighbouring
// threads take neighbouring units of y, so that reads and writes are coalesced but for the seams
// between the tensors. A thread walks with a stride of the whole grid and finds row and column by
// addition, since a division costs more than the copy. Fewer than 32 registers: 2048 threads, 32 KB
// in flight on a multiprocessor.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256;

template <class Unit>
__global__ void __launch_bounds__(threads)
    join(std::int64_t rows, int columns_a, int columns_b, const Unit* a, const Unit* b, Unit* y) {
  const int columns = columns_a + columns_b;
  for_each_cell(rows, columns, [&](std::int64_t row, int column) {
    y[row * columns + column] =
        column < columns_a ? a[row * columns_a + column] : b[row * columns_b + column - columns_a];
  });
}

/// Columns [begin, end) of y.
template <class Unit>
__global__ void __launch_bounds__(threads)
    part(std::int64_t rows, int columns_a, int columns_b, int begin, int end, const Unit* y,
         Unit* a, Unit* b) {
  const int columns = columns_a + columns_b;
  for_each_cell(rows, end - begin, [&](std::int64_t row, int i) {
    const int column = begin + i;
    const Unit unit = y[row * columns + column];
    if (column < columns_a)
      a[row * columns_a + column] = unit;
    else
      b[row * columns_b + column - columns_a] = unit;
  });
}

/// f(Unit{}, columns_a, columns_b) for the widest unit that both tensors' rows consist of.
template <class Operation, class F>
void with_units(const Operation& op, F&& f) {
  const int bytes_a = op.channels_a * static_cast<int>(size_of(op.type));
  const int bytes_b = op.channels_b * static_cast<int>(size_of(op.type));
  const auto attempt = [&]<class Unit>(Unit unit) {
    constexpr int size = sizeof(Unit);
    if (bytes_a % size != 0 || bytes_b % size != 0) return false;
    f(unit, bytes_a / size, bytes_b / size);
    return true;
  };
  attempt(uint4{}) || attempt(uint2{}) || attempt(std::uint32_t{}) || attempt(std::uint16_t{});
}

}  // namespace

void run(Gpu gpu, const Concat& op) {
  with_units(op, [&]<class Unit>(Unit, int columns_a, int columns_b) {
    launch<join<Unit>>(gpu, {blocks_for(op.rows * (columns_a + columns_b), threads), threads},
                       op.rows, columns_a, columns_b, static_cast<const Unit*>(op.a),
                       static_cast<const Unit*>(op.b), static_cast<Unit*>(op.y));
  });
}

void run(Gpu gpu, const Split& op) {
  with_units(op, [&]<class Unit>(Unit, int columns_a, int columns_b) {
    const int begin = op.a ? 0 : columns_a, end = op.b ? columns_a + columns_b : columns_a;
    if (begin >= end) return;
    launch<part<Unit>>(gpu, {blocks_for(op.rows * (end - begin), threads), threads}, op.rows,
                       columns_a, columns_b, begin, end, static_cast<const Unit*>(op.y),
                       static_cast<Unit*>(op.a), static_cast<Unit*>(op.b));
  });
}

}  // namespace anaphase::kernels
