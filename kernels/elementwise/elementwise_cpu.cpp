// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.hpp"
#include "kernels/common/vector_math.hpp"

namespace anaphase::kernels {
namespace {

template <class T>
void fill(void* data, std::int64_t count, T value) {
  T* y = static_cast<T*>(data);
  parallel_chunks(
      count, [=](std::int64_t begin, std::int64_t end) { std::fill(y + begin, y + end, value); });
}

template <class From, class To>
void convert(const Cast& op) {
  const auto* x = static_cast<const From*>(op.x);
  auto* y = static_cast<To*>(op.y);
  parallel_chunks(op.count, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) store(y[i], static_cast<float>(x[i]));
  });
}

// Rows of few channels are handled several at a time, as one row of a tile's width: long loops,
// whatever the number of channels.
constexpr int tile_width = 256;

int rows_of_tile(int channels) {
  return std::max(1, tile_width / channels);
}

/// y = x + v over the pixels of one piece of a sample, for up to tile_width channels of a row.
template <class T>
void add_vector(const T* x, const T* v, T* y, std::int64_t pixels, int channels) {
  const int rows = rows_of_tile(channels), width = rows * channels;
  float tile[tile_width];
  for (int i = 0; i < width; ++i) tile[i] = v[i % channels];
  for (std::int64_t p = 0; p < pixels; p += rows) {
    const int count = static_cast<int>(std::min<std::int64_t>(rows, pixels - p)) * channels;
    const T* in = x + p * channels;
    T* out = y + p * channels;
#pragma omp simd
    for (int i = 0; i < count; ++i) store(out[i], in[i] + tile[i]);
  }
}

}  // namespace

void run(Cpu, const Fill& op) {
  switch (op.type) {
    case DType::f32:
      return fill(op.y, op.count, static_cast<float>(op.value));
    case DType::bf16:
      return fill(op.y, op.count, bf16(static_cast<float>(op.value)).bits);
    case DType::i32:
      return fill(op.y, op.count, static_cast<std::int32_t>(op.value));
    default:
      throw Error("the CPU fills f32, bf16 and i32 tensors: copy other values from the host");
  }
}

void run(Cpu, const Cast& op) {
  if (op.from == op.to) {
    const auto* x = static_cast<const std::byte*>(op.x);
    auto* y = static_cast<std::byte*>(op.y);
    const auto bytes = static_cast<std::int64_t>(size_of(op.from));
    parallel_chunks(op.count, [=](std::int64_t begin, std::int64_t end) {
      std::memcpy(y + begin * bytes, x + begin * bytes,
                  static_cast<std::size_t>((end - begin) * bytes));
    });
  } else if (op.from == DType::f32 && op.to == DType::bf16) {
    convert<float, bf16>(op);
  } else if (op.from == DType::bf16 && op.to == DType::f32) {
    convert<bf16, float>(op);
  } else {
    throw Error("the CPU converts between f32 and bf16 alone: cast other types on the host");
  }
}

void run(Cpu, const AddScaled& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const T *a = static_cast<const T*>(op.a), *b = static_cast<const T*>(op.b);
    T* y = static_cast<T*>(op.y);
    const float factor = op.factor ? *static_cast<const float*>(op.factor) : 1;
    const float alpha = static_cast<float>(op.alpha) * factor;
    const float beta = static_cast<float>(op.beta) * factor;
    parallel_chunks(op.count, [=](std::int64_t begin, std::int64_t end) {
      if (b) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(y[i], alpha * a[i] + beta * b[i]);
      } else {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(y[i], alpha * a[i]);
      }
    });
  });
}

void run(Cpu, const AddPerSample& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const T *x = static_cast<const T*>(op.x), *v = static_cast<const T*>(op.v);
    T* y = static_cast<T*>(op.y);
    const std::int64_t piece = std::max(1, static_cast<int>(chunk_size) / op.channels);
    const std::int64_t pieces = chunks_of(op.pixels, piece);
    parallel_for(op.n * pieces, piece * op.channels, [=](std::int64_t i) {
      const std::int64_t sample = i / pieces, begin = i % pieces * piece;
      const std::int64_t first = (sample * op.pixels + begin) * op.channels;
      const std::int64_t pixels = std::min(piece, op.pixels - begin);
      const T* vector = v + sample * op.channels;
      if (op.channels <= tile_width)
        return add_vector(x + first, vector, y + first, pixels, op.channels);
      for (std::int64_t p = 0; p < pixels; ++p) {
        const T* in = x + first + p * op.channels;
        T* out = y + first + p * op.channels;
#pragma omp simd
        for (int c = 0; c < op.channels; ++c) store(out[c], in[c] + vector[c]);
      }
    });
  });
}

void run(Cpu, const SumPerSample& op) {
  constexpr int segment = 64;  // channels of a unit of work
  constexpr int block = 128;   // tile rows summed in float before they join the total
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const T* x = static_cast<const T*>(op.x);
    T* v = static_cast<T*>(op.v);
    const std::int64_t segments = chunks_of(op.channels, segment);
    parallel_for(op.n * segments, op.pixels * segment, [=](std::int64_t unit) {
      const std::int64_t sample = unit / segments;
      const int c0 = static_cast<int>(unit % segments) * segment;
      const int channels = std::min(segment, op.channels - c0);
      // a tensor of few channels is read whole, several pixels as one row
      const int rows = segments == 1 ? rows_of_tile(channels) : 1;
      const T* in = x + sample * op.pixels * op.channels + c0;
      double total[segment] = {};
      for (std::int64_t p = 0; p < op.pixels; p += static_cast<std::int64_t>(block) * rows) {
        const std::int64_t end = std::min(op.pixels, p + static_cast<std::int64_t>(block) * rows);
        float part[tile_width] = {};
        for (std::int64_t q = p; q < end; q += rows) {
          const int count = static_cast<int>(std::min<std::int64_t>(rows, end - q)) * channels;
          const T* row = in + q * op.channels;
#pragma omp simd
          for (int i = 0; i < count; ++i) part[i] += row[i];
        }
        for (int i = 0; i < rows * channels; ++i) total[i % channels] += part[i];
      }
      for (int c = 0; c < channels; ++c)
        store(v[sample * op.channels + c0 + c], static_cast<float>(total[c]));
    });
  });
}

}  // namespace anaphase::kernels
