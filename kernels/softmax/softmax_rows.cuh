// SPDX-License-Identifier: Apache-2.0
#pragma once

// Rows of a few classes, as the GPU's softmax and losses share them.
//
// A tensor [rows, classes] of C = 2 to 8 classes is cut into packs: the fewest rows that fill whole
// 16-byte vectors (2 and 4 classes: one vector). A thread holds a pack in registers, a row is its
// own from end to end, and neighbouring threads take neighbouring packs. C = 0 stands for any other
// number of classes: 8 neighbouring lanes share a row, the lane's classes are lane, lane + 8, ...
// (8 floats are a sector of 32 bytes), and what they need twice they read twice, from the L1 cache.

#include <numeric>

#include "kernels/common/gpu/reduce.cuh"
#include "kernels/common/gpu/vector.cuh"
#include "kernels/softmax/softmax.hpp"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

inline constexpr int row_threads = 256;  // of a block

/// Lanes that share a row.
template <int C>
inline constexpr int lanes_of_row = C == 0 ? 8 : 1;

/// Rows of a pack.
template <class T, int C>
inline constexpr int pack_rows = C == 0 ? 1 : lanes_of<T> / std::gcd(C, lanes_of<T>);

/// f(T{}, std::integral_constant<int, C>{}) for the operation's type and number of classes.
template <class Operation, class F>
void with_rows_of(const Operation& op, F&& f) {
  with_gpu_type(op.type, [&]<class T>(T type) {
    switch (op.classes) {
      case 2:
        return f(type, std::integral_constant<int, 2>{});
      case 3:
        return f(type, std::integral_constant<int, 3>{});
      case 4:
        return f(type, std::integral_constant<int, 4>{});
      case 5:
        return f(type, std::integral_constant<int, 5>{});
      case 6:
        return f(type, std::integral_constant<int, 6>{});
      case 7:
        return f(type, std::integral_constant<int, 7>{});
      case 8:
        return f(type, std::integral_constant<int, 8>{});
      default:
        return f(type, std::integral_constant<int, 0>{});
    }
  });
}

/// Blocks of `threads` for all packs, at most `most`.
template <class T, int C>
dim3 row_blocks(std::int64_t rows, int threads = row_threads, std::int64_t most = 4096) {
  return blocks_for(ceil_div<std::int64_t>(rows, pack_rows<T, C>) * lanes_of_row<C>, threads, most);
}

/// body(first row, rows) for every pack, spread over all threads of the grid. The last pack may
/// hold fewer rows; past it, so that whole warps come along, packs hold none (and `first` is a row
/// that exists).
template <class T, int C, class Body>
__device__ void for_each_pack(std::int64_t rows, Body&& body) {
  constexpr int size = pack_rows<T, C>, lanes = lanes_of_row<C>;
  const int of_warp = static_cast<int>(threadIdx.x) % 32 / lanes;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * (blockDim.x / lanes);
  const std::int64_t own =
      static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / lanes) + threadIdx.x / lanes;
  for (std::int64_t warp = own - of_warp; warp * size < rows; warp += step) {
    const std::int64_t first = (warp + of_warp) * size;
    const std::int64_t left = first < rows ? rows - first : 0;
    body(left > 0 ? first : rows - 1, static_cast<int>(left < size ? left : size));
  }
}

/// f(k) for the calling lane's classes.
template <int C, class F>
__device__ void for_each_class([[maybe_unused]] int classes, F&& f) {
  if constexpr (C > 0) {
#pragma unroll
    for (int k = 0; k < C; ++k) f(k);
  } else {
    for (int k = static_cast<int>(threadIdx.x) % lanes_of_row<0>; k < classes; k += lanes_of_row<0>)
      f(k);
  }
}

/// The sum of f(k) over all classes, in every lane of the row.
template <int C, class F>
__device__ float sum_over_classes(int classes, F&& f) {
  float sum = 0;
  for_each_class<C>(classes, [&](int k) { sum += f(k); });
  return warp_sum<lanes_of_row<C>>(sum);
}

/// The elements of a pack: input(r, k) is class k of its row r.
template <class T, int C>
struct PackInput {
  static constexpr int size = pack_rows<T, C>;
  float value[size * C];

  __device__ PackInput(const T* tensor, std::int64_t first, int rows, int) {
    const T* from = tensor + first * C;
    if (rows == size) {
#pragma unroll
      for (int i = 0; i < size * C; i += lanes_of<T>) {
        const auto vector = load_float<lanes_of<T>>(from + i);
#pragma unroll
        for (int j = 0; j < lanes_of<T>; ++j) value[i + j] = vector[j];
      }
    } else {
#pragma unroll
      for (int i = 0; i < size * C; ++i)
        value[i] = i < rows * C ? static_cast<float>(from[i]) : 0.0F;
    }
  }
  __device__ float operator()(int r, int k) const {
    return value[r * C + k];
  }
};

template <class T>
struct PackInput<T, 0> {
  const T* row;

  __device__ PackInput(const T* tensor, std::int64_t first, int, int classes)
      : row(tensor + first * classes) {}
  __device__ float operator()(int, int k) const { return static_cast<float>(row[k]); }
};

/// A pack to be written: output.set(r, k, value) for all classes of all rows, then store().
template <class T, int C>
struct PackOutput {
  static constexpr int size = pack_rows<T, C>;
  T* to;
  int rows;
  float value[size * C];

  __device__ PackOutput(T* tensor, std::int64_t first, int rows_, int)
      : to(tensor + first * C), rows(rows_) {}
  __device__ void set(int r, int k, float v) { value[r * C + k] = v; }
  __device__ void store() {
    if (rows == size) {
#pragma unroll
      for (int i = 0; i < size * C; i += lanes_of<T>) {
        Vector<float, lanes_of<T>> vector;
#pragma unroll
        for (int j = 0; j < lanes_of<T>; ++j) vector[j] = value[i + j];
        store_float(to + i, vector);
      }
    } else {
#pragma unroll
      for (int i = 0; i < size * C; ++i)
        if (i < rows * C) to[i] = T(value[i]);
    }
  }
};

template <class T>
struct PackOutput<T, 0> {
  T* row;
  bool exists;

  __device__ PackOutput(T* tensor, std::int64_t first, int rows, int classes)
      : row(tensor + first * classes), exists(rows > 0) {}
  __device__ void set(int, int k, float v) {
    if (exists) row[k] = T(v);
  }
  __device__ void store() {}
};

/// The labels of a pack; rows that do not exist are ignored ones.
template <class T, int C>
struct PackLabels {
  static constexpr int size = pack_rows<T, C>, width = size < 4 ? size : 4;
  std::int32_t label[size];

  PackLabels() = default;
  __device__ PackLabels(const std::int32_t* labels, std::int64_t first, int rows) {
    if (rows == size) {
#pragma unroll
      for (int i = 0; i < size; i += width) {
        const auto vector = load<width>(labels + first + i);
#pragma unroll
        for (int j = 0; j < width; ++j) label[i + j] = vector[j];
      }
    } else {
#pragma unroll
      for (int i = 0; i < size; ++i) label[i] = i < rows ? labels[first + i] : ignore_label;
    }
  }
  __device__ void store(std::int32_t* labels, std::int64_t first, int rows) const {
    if (threadIdx.x % lanes_of_row<C> != 0) return;
    if (rows == size) {
#pragma unroll
      for (int i = 0; i < size; i += width) {
        Vector<std::int32_t, width> vector;
#pragma unroll
        for (int j = 0; j < width; ++j) vector[j] = label[i + j];
        kernels::store(labels + first + i, vector);
      }
    } else {
#pragma unroll
      for (int i = 0; i < size; ++i)
        if (i < rows) labels[first + i] = label[i];
    }
  }
};

/// The largest element of a row and its class, the lowest of equals; a NaN counts only as the first
/// class, as to std::max_element.
template <class T, int C>
struct RowMaximum {
  const PackInput<T, C>& x;
  int r, classes;
  float largest;
  int best = 0;

  __device__ RowMaximum(const PackInput<T, C>& input, int row, int classes_)
      : x(input), r(row), classes(classes_), largest(input(row, 0)) {
    for_each_class<C>(classes, [&](int k) {
      const float v = x(r, k);
      best = v > largest ? k : best;
      largest = v > largest ? v : largest;
    });
#pragma unroll
    for (int distance = lanes_of_row<C> / 2; distance > 0; distance /= 2) {
      const float v = __shfl_xor_sync(all_lanes, largest, distance);
      const int k = __shfl_xor_sync(all_lanes, best, distance);
      const bool wins = v > largest || (v == largest && k < best);
      best = wins ? k : best;
      largest = wins ? v : largest;
    }
  }
};

/// p_k = e^(x_k - largest) / (1 + rest), rest = the sum of e^(x_k - largest) over the other
/// classes: the logarithm of the sum, log1p(rest), keeps its precision where one class dominates.
/// All is NaN where an element is NaN or the largest is infinite.
template <class T, int C>
struct RowSoftmax : RowMaximum<T, C> {
  using RowMaximum<T, C>::x, RowMaximum<T, C>::r, RowMaximum<T, C>::classes;
  float rest, inverse;  // 1 / (1 + rest), the largest probability

  __device__ RowSoftmax(const PackInput<T, C>& input, int row, int classes_)
      : RowMaximum<T, C>(input, row, classes_) {
    rest = sum_over_classes<C>(
        classes, [&](int k) { return k == this->best ? 0.0F : expf(below_largest(k)); });
    rest += this->largest - this->largest;
    inverse = 1.0F / (1.0F + rest);
  }

  __device__ float below_largest(int k) const { return x(r, k) - this->largest; }
  __device__ float probability(int k) const { return expf(below_largest(k)) * inverse; }
};

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
