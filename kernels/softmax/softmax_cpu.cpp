// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax.hpp"

#include "kernels/softmax/softmax_block.hpp"

namespace anaphase::kernels {

void run(Cpu, const SoftmaxForward& op) {
  with_cpu_type(op.type, [&]<class T>(T) {
    const RowBlocks blocks{op.rows, op.classes};
    blocks.for_each([&](std::int64_t, std::int64_t first, int rows) {
      const SoftmaxBlock<T> block(static_cast<const T*>(op.x), first, rows, op.classes);
      T* y = static_cast<T*>(op.y) + first * op.classes;
      const float gain = op.gain, offset = op.offset;
      const int classes = op.classes;
      for (int k = 0; k < classes; ++k) {
#pragma omp simd
        for (int r = 0; r < rows; ++r)
          store(y[std::int64_t{r} * classes + k], gain * block.probability(r, k) + offset);
      }
    });
  });
}

void run(Cpu, const SoftmaxBackward& op) {
  with_cpu_type(op.type, [&]<class T>(T) {
    const RowBlocks blocks{op.rows, op.classes};
    blocks.for_each([&](std::int64_t, std::int64_t first, int rows) {
      const T* y = static_cast<const T*>(op.y) + first * op.classes;
      const T* dy = static_cast<const T*>(op.dy) + first * op.classes;
      T* dx = static_cast<T*>(op.dx) + first * op.classes;
      const float gain = op.gain, offset = op.offset, inverse_gain = 1 / op.gain;
      const int classes = op.classes;
      alignas(64) float dot[block_rows] = {};
      for (int k = 0; k < classes; ++k) {
#pragma omp simd
        for (int r = 0; r < rows; ++r) {
          const std::int64_t i = std::int64_t{r} * classes + k;
          dot[r] += (y[i] - offset) * inverse_gain * dy[i];
        }
      }
      for (int k = 0; k < classes; ++k) {
#pragma omp simd
        for (int r = 0; r < rows; ++r) {
          const std::int64_t i = std::int64_t{r} * classes + k;
          const float p = (y[i] - offset) * inverse_gain;
          store(dx[i], gain * p * (dy[i] - dot[r]));
        }
      }
    });
  });
}

void run(Cpu, const Argmax& op) {
  with_cpu_type(op.type, [&]<class T>(T) {
    const RowBlocks blocks{op.rows, op.classes};
    blocks.for_each([&](std::int64_t, std::int64_t first, int rows) {
      const T* x = static_cast<const T*>(op.x);
      const auto label = [&](const auto& block, const float* probability) {
        for (int r = 0; r < rows; ++r)
          op.labels[first + r] = probability[r] < op.confidence ? ignore_label : block.best[r];
      };
      if (op.probabilities || op.confidence <= 0) {
        const RowMaxima<T> block(x, first, rows, op.classes);
        if (op.probabilities) return label(block, block.largest);
        std::copy_n(block.best, rows, op.labels + first);
      } else {
        const SoftmaxBlock<T> block(x, first, rows, op.classes);
        label(block, block.inverse);
      }
    });
  });
}

void run(Cpu, const OneHot& op) {
  with_cpu_type(op.type, [&]<class T>(T) {
    parallel_chunks(op.rows, [&](std::int64_t begin, std::int64_t end) {
      T* y = static_cast<T*>(op.y);
      const float on = op.on, off = op.off;
      const int classes = op.classes;
      for (std::int64_t r = begin; r < end; ++r)
        for (int k = 0; k < classes; ++k) store(y[r * classes + k], op.labels[r] == k ? on : off);
    });
  });
}

}  // namespace anaphase::kernels
