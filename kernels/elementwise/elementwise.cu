// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise.hpp"

#include "kernels/common/gpu/vector.cuh"

// Operations of one pass over memory: what is read is read once, what is written is written once,
// the least possible. At most three operations an element of 2 to 4 bytes: memory alone bounds
// them, so each thread moves 16 bytes at a time, neighbours next to each other, and keeps few
// registers. A cast moves four elements, so that its wider side has 16 bytes and both sides lie
// without gaps. A block is 256 threads; the grid is large enough to fill any GPU, and threads of a
// larger array take several vectors. Aliasing is safe: a thread writes what it alone has read.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256;

template <int Lanes>
Grid grid_of(std::int64_t count) {
  return {blocks_for(ceil_div<std::int64_t>(count, Lanes), threads), threads};
}

template <class T>
__global__ void __launch_bounds__(threads) fill(std::int64_t count, T value, T* y) {
  for_each_vector<lanes_of<T>>(count, [&]<int N>(std::integral_constant<int, N>, std::int64_t i) {
    Vector<T, N> v;
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] = value;
    store(y + i, v);
  });
}

template <class From, class To>
__global__ void __launch_bounds__(threads) convert(std::int64_t count, const From* x, To* y) {
  for_each_vector<4>(count, [&]<int N>(std::integral_constant<int, N>, std::int64_t i) {
    store_float(y + i, load_float<N>(x + i));
  });
}

template <class T>
__global__ void __launch_bounds__(threads)
    add_scaled(std::int64_t count, float alpha, const T* a, float beta, const T* b,
               const float* factor, T* y) {
  if (factor) {
    alpha *= *factor;
    beta *= *factor;
  }
  for_each_vector<lanes_of<T>>(count, [&]<int N>(std::integral_constant<int, N>, std::int64_t i) {
    Vector<float, N> v = load_float<N>(a + i);
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] *= alpha;
    if (b) {
      const Vector<float, N> w = load_float<N>(b + i);
#pragma unroll
      for (int k = 0; k < N; ++k) v[k] += beta * w[k];
    }
    store_float(y + i, v);
  });
}

/// Samples lie along the grid's y; a row of a sample is `columns` vectors.
template <class T, int Lanes>
__global__ void __launch_bounds__(threads)
    add_per_sample(int n, std::int64_t pixels, int columns, const T* x, const T* v, T* y) {
  for_each_sample(n, [&](int sample) {
    const std::int64_t row = std::int64_t{columns} * Lanes, first = sample * pixels * row;
    for_each_cell(pixels, columns, [&](std::int64_t pixel, int column) {
      const std::int64_t at = first + pixel * row + column * Lanes;
      Vector<float, Lanes> sum = load_float<Lanes>(x + at);
      const Vector<float, Lanes> added = load_float<Lanes>(v + sample * row + column * Lanes);
#pragma unroll
      for (int k = 0; k < Lanes; ++k) sum[k] += added[k];
      store_float(y + at, sum);
    });
  });
}

template <class T>
void fill_with(Gpu gpu, const Fill& op, T value) {
  launch<fill<T>>(gpu, grid_of<lanes_of<T>>(op.count), op.count, value, static_cast<T*>(op.y));
}

template <class From, class To>
void convert_all(Gpu gpu, const Cast& op) {
  launch<convert<From, To>>(gpu, grid_of<4>(op.count), op.count, static_cast<const From*>(op.x),
                            static_cast<To*>(op.y));
}

}  // namespace

void run(Gpu gpu, const Fill& op) {
  switch (op.type) {
    case DType::f32:
      return fill_with(gpu, op, static_cast<float>(op.value));
    case DType::bf16:
      return fill_with(gpu, op, bf16(static_cast<float>(op.value)));
    case DType::i32:
      return fill_with(gpu, op, static_cast<std::int32_t>(op.value));
    default:
      throw Error("a GPU fills f32, bf16 and i32 tensors: copy other values from the host");
  }
}

void run(Gpu gpu, const Cast& op) {
  if (op.from == op.to)
    check(cudaMemcpyAsync(op.y, op.x, static_cast<std::size_t>(op.count) * size_of(op.from),
                          cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(gpu.stream)),
          "a copy");
  else if (op.from == DType::f32 && op.to == DType::bf16)
    convert_all<float, bf16>(gpu, op);
  else if (op.from == DType::bf16 && op.to == DType::f32)
    convert_all<bf16, float>(gpu, op);
  else
    throw Error("a GPU converts between f32 and bf16 alone: cast other types on the host");
}

void run(Gpu gpu, const AddScaled& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    launch<add_scaled<T>>(gpu, grid_of<lanes_of<T>>(op.count), op.count,
                          static_cast<float>(op.alpha), static_cast<const T*>(op.a),
                          static_cast<float>(op.beta), static_cast<const T*>(op.b),
                          static_cast<const float*>(op.factor), static_cast<T*>(op.y));
  });
}

void run(Gpu gpu, const AddPerSample& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.channels, [&]<class Lanes>(Lanes) {
      const int columns = op.channels / Lanes::value;
      launch<add_per_sample<T, Lanes::value>>(
          gpu, {sample_blocks(blocks_for(op.pixels * columns, threads), op.n), threads}, op.n,
          op.pixels, columns, static_cast<const T*>(op.x), static_cast<const T*>(op.v),
          static_cast<T*>(op.y));
    });
  });
}

}  // namespace anaphase::kernels
