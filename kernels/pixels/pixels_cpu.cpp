// SPDX-License-Identifier: Apache-2.0
#include "kernels/pixels/pixels.hpp"

#include "kernels/common/parallel.hpp"

namespace anaphase::kernels {
namespace {

/// f(std::integral_constant<int, C>{}) for grey and colour, C = 0 for any other number of channels.
template <class F>
void with_channels(int channels, F&& f) {
  switch (channels) {
    case 1:
      return f(std::integral_constant<int, 1>{});
    case 3:
      return f(std::integral_constant<int, 3>{});
    default:
      return f(std::integral_constant<int, 0>{});
  }
}

/// Channels are C, or `c` where C is 0.
template <int C, class T>
void normalise_row(const std::uint8_t* x, int w, int c, const float* mean, const float* std, T* y) {
  const int channels = C == 0 ? c : C;
#pragma omp simd
  for (int i = 0; i < w; ++i)
    for (int k = 0; k < channels; ++k) {
      const int at = i * channels + k;
      y[at] = T((static_cast<float>(x[at]) / 255.0F - mean[k]) / std[k]);
    }
}

/// Rows of n images: body(image, row of the image, row of all).
template <class Body>
void for_each_row(int n, int h, std::int64_t work, Body&& body) {
  parallel_for(std::int64_t{n} * h, work, [&](std::int64_t i) { body(i / h, i % h, i); });
}

}  // namespace

void run(Cpu, const NormalisePixels& op) {
  const std::int64_t line = std::int64_t{op.w} * op.c;
  with_cpu_type(op.type, [&]<class T>(T) {
    with_channels(op.c, [&]<int C>(std::integral_constant<int, C>) {
      for_each_row(op.n, op.h, line, [&](std::int64_t n, std::int64_t h, std::int64_t row) {
        normalise_row<C>(op.x + n * op.image_stride + h * op.row_stride, op.w, op.c,
                         static_cast<const float*>(op.mean), static_cast<const float*>(op.std),
                         static_cast<T*>(op.y) + row * line);
      });
    });
  });
}

void run(Cpu, const LargestClass& op) {
  const std::int64_t line = std::int64_t{op.w} * op.classes;
  for_each_row(op.n, op.h, line, [&](std::int64_t n, std::int64_t h, std::int64_t row) {
    const float* p = static_cast<const float*>(op.p) + row * line;
    std::uint8_t* mask = op.mask + n * op.image_stride + h * op.row_stride;
    for (int w = 0; w < op.w; ++w, p += op.classes) {
      int best = 0;
      for (int k = 1; k < op.classes; ++k) best = p[k] > p[best] ? k : best;
      mask[w] = static_cast<std::uint8_t>(best);
    }
  });
}

}  // namespace anaphase::kernels
