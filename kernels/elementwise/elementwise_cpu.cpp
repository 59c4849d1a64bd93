// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/common/normalize.hpp"
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
      if (!b) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(y[i], alpha * a[i]);
        return;
      }
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) store(y[i], alpha * a[i] + beta * b[i]);
    });
  });
}

void run(Cpu, const AddPerSample& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const RowChunks chunks(op.pixels, op.channels);
    for_each_chunk(chunks, op.n, [&](int sample, std::int64_t chunk) {
      const T* x = static_cast<const T*>(op.x) + sample * op.pixels * op.channels;
      const T* v = static_cast<const T*>(op.v) + std::int64_t{sample} * op.channels;
      T* y = static_cast<T*>(op.y) + sample * op.pixels * op.channels;
      for_each_span(op.channels, [&](const Span& span) {
        float added[span_lanes];
        span.spread(v, added);
        span.for_each(chunks.begin(chunk), chunks.end(chunk), op.channels,
                      [=, &added](std::int64_t offset, int count) {
#pragma omp simd
                        for (int i = 0; i < count; ++i)
                          store(y[offset + i], x[offset + i] + added[i]);
                      });
      });
    });
  });
}

void run(Cpu, const SumPerSample& op) {
  const int segment = op.n > 1 ? span_lanes : 64;  // channels of a unit of work
  constexpr int block = 128;  // rows of a span summed in float before they join the total
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const std::int64_t segments = chunks_of(op.channels, segment);
    parallel_for(op.n * segments, op.pixels * segment, [&](std::int64_t unit) {
      const std::int64_t sample = unit / segments;
      const int first = static_cast<int>(unit % segments) * segment;
      const int channels = std::min(segment, op.channels - first);
      const Span span{first, channels, segments == 1 ? span_lanes / channels : 1};
      const T* x = static_cast<const T*>(op.x) + sample * op.pixels * op.channels;
      double total[span_lanes] = {};
      const std::int64_t rows = std::int64_t{block} * span.rows;
      for (std::int64_t p = 0; p < op.pixels; p += rows) {
        float part[span_lanes] = {};
        span.for_each(p, std::min(op.pixels, p + rows), op.channels,
                      [=, &part](std::int64_t offset, int count) {
#pragma omp simd
                        for (int i = 0; i < count; ++i) part[i] += x[offset + i];
                      });
        span.fold(part);
        for (int c = 0; c < channels; ++c) total[c] += part[c];
      }
      T* v = static_cast<T*>(op.v) + sample * op.channels + first;
      for (int c = 0; c < channels; ++c) store(v[c], static_cast<float>(total[c]));
    });
  });
}

}  // namespace anaphase::kernels
