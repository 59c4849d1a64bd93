// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax.hpp"

#include "kernels/softmax/softmax_rows.cuh"

// Softmax over few classes, its gradient, its largest class, and one-hot rows.
//
// Bytes: 2 s an element of s bytes forward, 3 s backward, s and 4 a row for the labels, which is
// the least possible for up to 8 classes; more are read up to three times, of which the last two
// come from the L1 cache (a warp's four rows of 255 classes are 4 KiB). Operations: about 15 an
// element (an exponential is 8), against the 20 that an H100 does while it moves a byte. So the
// kernels are bound by memory. A thread reads its rows in whole 16-byte vectors (softmax_rows.cuh):
// one for 2 and 4 classes; where it takes several, a warp's vectors stand apart, each load touches
// twice as many sectors as it uses, and the L1 cache joins them. A row never leaves its thread, so
// writing over the input is safe.

namespace anaphase::kernels {
namespace {

template <class T, int C>
__global__ void __launch_bounds__(row_threads)
    softmax_forward(std::int64_t rows, int classes, float gain, float offset, const T* x, T* y) {
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackInput<T, C> input(x, first, count, classes);
    PackOutput<T, C> output(y, first, count, classes);
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r) {
      const RowSoftmax<T, C> softmax(input, r, classes);
      for_each_class<C>(classes,
                        [&](int k) { output.set(r, k, gain * softmax.probability(k) + offset); });
    }
    output.store();
  });
}

template <class T, int C>
__global__ void __launch_bounds__(row_threads)
    softmax_backward(std::int64_t rows, int classes, float gain, float offset, const T* y,
                     const T* dy, T* dx) {
  const float inverse_gain = 1.0F / gain;
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackInput<T, C> result(y, first, count, classes), gradient(dy, first, count, classes);
    PackOutput<T, C> output(dx, first, count, classes);
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r) {
      const auto probability = [&](int k) { return (result(r, k) - offset) * inverse_gain; };
      const float dot =
          sum_over_classes<C>(classes, [&](int k) { return probability(k) * gradient(r, k); });
      for_each_class<C>(classes, [&](int k) {
        output.set(r, k, gain * probability(k) * (gradient(r, k) - dot));
      });
    }
    output.store();
  });
}

/// Softmax: whether what has to reach `confidence` is the softmax of the largest element, or that
/// element itself.
template <class T, int C, bool Softmax>
__global__ void __launch_bounds__(row_threads)
    argmax(std::int64_t rows, int classes, float confidence, const T* x, std::int32_t* labels) {
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackInput<T, C> input(x, first, count, classes);
    PackLabels<T, C> output;
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r) {
      const auto label = [&](const auto& row, float probability) {
        output.label[r] = probability < confidence ? ignore_label : row.best;
      };
      if constexpr (Softmax) {
        const RowSoftmax<T, C> row(input, r, classes);
        label(row, row.inverse);
      } else {
        const RowMaximum<T, C> row(input, r, classes);
        label(row, row.largest);
      }
    }
    output.store(labels, first, count);
  });
}

template <class T, int C>
__global__ void __launch_bounds__(row_threads)
    one_hot(std::int64_t rows, int classes, float on, float off, const std::int32_t* labels, T* y) {
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackLabels<T, C> input(labels, first, count);
    PackOutput<T, C> output(y, first, count, classes);
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r)
      for_each_class<C>(classes, [&](int k) { output.set(r, k, input.label[r] == k ? on : off); });
    output.store();
  });
}

}  // namespace

void run(Gpu gpu, const SoftmaxForward& op) {
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    launch<softmax_forward<T, C>>(gpu, {row_blocks<T, C>(op.rows), row_threads}, op.rows,
                                  op.classes, op.gain, op.offset, static_cast<const T*>(op.x),
                                  static_cast<T*>(op.y));
  });
}

void run(Gpu gpu, const SoftmaxBackward& op) {
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    launch<softmax_backward<T, C>>(gpu, {row_blocks<T, C>(op.rows), row_threads}, op.rows,
                                   op.classes, op.gain, op.offset, static_cast<const T*>(op.y),
                                   static_cast<const T*>(op.dy), static_cast<T*>(op.dx));
  });
}

void run(Gpu gpu, const Argmax& op) {
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    const auto go = [&]<bool Softmax>(std::bool_constant<Softmax>, float confidence) {
      launch<argmax<T, C, Softmax>>(gpu, {row_blocks<T, C>(op.rows), row_threads}, op.rows,
                                    op.classes, confidence, static_cast<const T*>(op.x), op.labels);
    };
    if (op.probabilities) return go(std::false_type{}, op.confidence);
    if (op.confidence > 0) return go(std::true_type{}, op.confidence);
    go(std::false_type{}, -INFINITY);
  });
}

void run(Gpu gpu, const OneHot& op) {
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    launch<one_hot<T, C>>(gpu, {row_blocks<T, C>(op.rows), row_threads}, op.rows, op.classes, op.on,
                          op.off, op.labels, static_cast<T*>(op.y));
  });
}

}  // namespace anaphase::kernels
