// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/loss.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/softmax/softmax_block.hpp"

// Sums run in float over a block of rows, in double over the blocks of a chunk (in the workspace,
// a line of values for each chunk), and in double over the chunks, always in the same order.

namespace anaphase::kernels {
namespace {

float value_at(const void* pointer) {
  return pointer ? *static_cast<const float*>(pointer) : 0.0F;
}

void write(void* pointer, double value) {
  *static_cast<float*>(pointer) = static_cast<float>(value);
}

/// Column `column` of the chunks' partial sums [chunks, columns], added up.
double total(const double* partial, std::int64_t chunks, int columns, int column) {
  double sum = 0;
  for (std::int64_t k = 0; k < chunks; ++k) sum += partial[k * columns + column];
  return sum;
}

template <class Operation>
std::size_t partial_bytes(const Operation& op, int columns) {
  return RowBlocks{op.rows, op.classes}.chunks() * columns * sizeof(double);
}

template <class Operation>
double* cleared_partial(const Operation& op, int columns) {
  auto* partial = static_cast<double*>(op.workspace);
  std::fill_n(partial, RowBlocks{op.rows, op.classes}.chunks() * columns, 0.0);
  return partial;
}

/// body(softmax of a block, chunk, the block's first row)
template <class Operation, class Body>
void for_each_block(const Operation& op, Body&& body) {
  with_cpu_type(op.type, [&]<class T>(T) {
    RowBlocks{op.rows, op.classes}.for_each([&](std::int64_t chunk, std::int64_t first, int rows) {
      body(SoftmaxBlock<T>(static_cast<const T*>(op.logits), first, rows, op.classes), chunk,
           first);
    });
  });
}

}  // namespace

// ---- Dice

std::size_t workspace_bytes(Cpu, const DiceForward& op) {
  return partial_bytes(op, 3 * op.classes);
}

void run(Cpu, const DiceForward& op) {
  const int classes = op.classes, columns = 3 * classes;
  double* partial = cleared_partial(op, columns);
  for_each_block(op, [&](const auto& block, std::int64_t chunk, std::int64_t first) {
    const std::int32_t* labels = op.labels + first;
    for (int k = 0; k < classes; ++k) {
      float both = 0, square = 0, labelled = 0;
#pragma omp simd reduction(+ : both, square, labelled)
      for (int r = 0; r < block.rows; ++r) {
        const float p = block.probability(r, k);
        both += labels[r] == k ? p : 0.0F;
        square += labels[r] >= 0 ? p * p : 0.0F;
        labelled += labels[r] == k ? 1.0F : 0.0F;
      }
      double* sums = partial + chunk * columns + k;
      sums[0] += both;
      sums[classes] += square;
      sums[2 * classes] += labelled;
    }
  });
  const std::int64_t chunks = RowBlocks{op.rows, classes}.chunks();
  auto* sums = static_cast<float*>(op.sums);
  double score = 0;
  for (int k = 0; k < classes; ++k) {
    const double both = total(partial, chunks, columns, k);
    const double square = total(partial, chunks, columns, classes + k);
    const double labelled = total(partial, chunks, columns, 2 * classes + k);
    sums[k] = static_cast<float>(both);
    sums[classes + k] = static_cast<float>(square);
    sums[2 * classes + k] = static_cast<float>(labelled);
    const double smooth = op.smooth;
    score += (2 * both + smooth) / (square + labelled + smooth);
  }
  write(op.loss, 1 - score / classes);
}

void run(Cpu, const DiceBackward& op) {
  const int classes = op.classes;
  const auto* sums = static_cast<const float*>(op.sums);
  const float dloss = value_at(op.dloss);
  // d loss / d p_k = if_labelled [label = k] + of_p p_k
  struct Gradient {
    float if_labelled, of_p;
    float operator()(float p, bool labelled) const {
      return of_p * p + (labelled ? if_labelled : 0.0F);
    }
  };
  const auto gradient_of = [&](int k) {
    const float numerator = 2 * sums[k] + op.smooth;
    const float denominator = sums[classes + k] + sums[2 * classes + k] + op.smooth;
    const float unit = 2 * dloss / (static_cast<float>(classes) * denominator);
    return Gradient{-unit, unit * (numerator / denominator)};
  };
  for_each_block(op, [&]<class T>(const SoftmaxBlock<T>& block, std::int64_t, std::int64_t first) {
    const std::int32_t* labels = op.labels + first;
    T* dlogits = static_cast<T*>(op.dlogits) + first * classes;
    alignas(64) float dot[block_rows] = {};
    for (int k = 0; k < classes; ++k) {
      const Gradient gradient = gradient_of(k);
#pragma omp simd
      for (int r = 0; r < block.rows; ++r) {
        const float p = block.probability(r, k);
        dot[r] += p * gradient(p, labels[r] == k);
      }
    }
    for (int k = 0; k < classes; ++k) {
      const Gradient gradient = gradient_of(k);
#pragma omp simd
      for (int r = 0; r < block.rows; ++r) {
        const float p = block.probability(r, k);
        const float d = p * (gradient(p, labels[r] == k) - dot[r]);
        store(dlogits[std::int64_t{r} * classes + k], labels[r] >= 0 ? d : 0.0F);
      }
    }
  });
}

// ---- Cross entropy

std::size_t workspace_bytes(Cpu, const CrossEntropyForward& op) {
  return partial_bytes(op, 2);
}

void run(Cpu, const CrossEntropyForward& op) {
  double* partial = cleared_partial(op, 2);
  for_each_block(op, [&](const auto& block, std::int64_t chunk, std::int64_t first) {
    const std::int32_t* labels = op.labels + first;
    alignas(64) float below[block_rows] = {};  // x[label] - the largest x
    for (int k = 0; k < op.classes; ++k) {
#pragma omp simd
      for (int r = 0; r < block.rows; ++r)
        below[r] = labels[r] == k ? block.below_largest(r, k) : below[r];
    }
    float sum = 0, counted = 0;
#pragma omp simd reduction(+ : sum, counted)
    for (int r = 0; r < block.rows; ++r) {
      const float loss = fast_log1p(block.rest[r]) - below[r];
      sum += labels[r] >= 0 ? loss : 0.0F;
      counted += labels[r] >= 0 ? 1.0F : 0.0F;
    }
    partial[2 * chunk] += sum;
    partial[2 * chunk + 1] += counted;
  });
  const std::int64_t chunks = RowBlocks{op.rows, op.classes}.chunks();
  const double counted = total(partial, chunks, 2, 1);
  write(op.loss, counted > 0 ? total(partial, chunks, 2, 0) / counted : 0);
  write(op.counted, counted);
}

void run(Cpu, const CrossEntropyBackward& op) {
  const int classes = op.classes;
  const float share = value_at(op.dloss) / value_at(op.counted);
  for_each_block(op, [&]<class T>(const SoftmaxBlock<T>& block, std::int64_t, std::int64_t first) {
    const std::int32_t* labels = op.labels + first;
    T* dlogits = static_cast<T*>(op.dlogits) + first * classes;
    for (int k = 0; k < classes; ++k) {
#pragma omp simd
      for (int r = 0; r < block.rows; ++r) {
        const float d = share * (block.probability(r, k) - (labels[r] == k ? 1.0F : 0.0F));
        store(dlogits[std::int64_t{r} * classes + k], labels[r] >= 0 ? d : 0.0F);
      }
    }
  });
}

// ---- Mean squared error

std::size_t workspace_bytes(Cpu, const MeanSquaredErrorForward& op) {
  return op.n * chunks_of(op.per_sample) * sizeof(double);
}

void run(Cpu, const MeanSquaredErrorForward& op) {
  const std::int64_t chunks = chunks_of(op.per_sample);
  auto* partial = static_cast<double*>(op.workspace);  // [n, chunks]
  with_cpu_type(op.type, [&]<class T>(T) {
    parallel_for(op.n * chunks, chunk_size, [&](std::int64_t i) {
      const T* prediction = static_cast<const T*>(op.prediction) + i / chunks * op.per_sample;
      const T* target = static_cast<const T*>(op.target) + i / chunks * op.per_sample;
      const std::int64_t begin = i % chunks * chunk_size;
      const std::int64_t end = std::min(op.per_sample, begin + chunk_size);
      double sum = 0;
      for (std::int64_t block = begin; block < end; block += block_rows) {
        const std::int64_t block_end = std::min(end, block + block_rows);
        float of_block = 0;
#pragma omp simd reduction(+ : of_block)
        for (std::int64_t j = block; j < block_end; ++j) {
          const float difference = prediction[j] - target[j];
          of_block += difference * difference;
        }
        sum += of_block;
      }
      partial[i] = sum;
    });
  });
  const auto* weight = static_cast<const float*>(op.weight);
  double loss = 0;
  for (int s = 0; s < op.n; ++s)
    loss += (weight ? weight[s] : 1.0F) * total(partial + s * chunks, chunks, 1, 0);
  write(op.loss, loss / (static_cast<double>(op.n) * static_cast<double>(op.per_sample)));
}

void run(Cpu, const MeanSquaredErrorBackward& op) {
  const std::int64_t chunks = chunks_of(op.per_sample);
  const auto* weight = static_cast<const float*>(op.weight);
  const float share =
      2 * value_at(op.dloss) / (static_cast<float>(op.n) * static_cast<float>(op.per_sample));
  with_cpu_type(op.type, [&]<class T>(T) {
    parallel_for(op.n * chunks, chunk_size, [&](std::int64_t i) {
      const float factor = share * (weight ? weight[i / chunks] : 1.0F);
      const std::int64_t begin = i / chunks * op.per_sample + i % chunks * chunk_size;
      const std::int64_t count = std::min(chunk_size, op.per_sample - i % chunks * chunk_size);
      const T* prediction = static_cast<const T*>(op.prediction) + begin;
      const T* target = static_cast<const T*>(op.target) + begin;
      T* dprediction = static_cast<T*>(op.dprediction) + begin;
#pragma omp simd
      for (std::int64_t j = 0; j < count; ++j)
        store(dprediction[j], factor * (prediction[j] - target[j]));
    });
  });
}

// ---- Class use

std::size_t workspace_bytes(Cpu, const ClassUseForward& op) {
  return partial_bytes(op, op.classes + 1);
}

namespace {

/// -sum p log p of every row of the block: log1p(rest) - sum of p (x - largest), where p = 0 adds
/// nothing even if x is minus infinity.
template <class T>
void entropies(const SoftmaxBlock<T>& block, float* entropy) {
#pragma omp simd
  for (int r = 0; r < block.rows; ++r) entropy[r] = fast_log1p(block.rest[r]);
  for (int k = 0; k < block.classes; ++k) {
#pragma omp simd
    for (int r = 0; r < block.rows; ++r) {
      const float p = block.probability(r, k);
      entropy[r] -= p > 0 ? p * block.below_largest(r, k) : 0.0F;
    }
  }
}

}  // namespace

void run(Cpu, const ClassUseForward& op) {
  const int classes = op.classes, columns = classes + 1;
  double* partial = cleared_partial(op, columns);
  for_each_block(op, [&](const auto& block, std::int64_t chunk, std::int64_t) {
    double* sums = partial + chunk * columns;
    for (int k = 0; k < classes; ++k) {
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int r = 0; r < block.rows; ++r) sum += block.probability(r, k);
      sums[k] += sum;
    }
    alignas(64) float entropy[block_rows];
    entropies(block, entropy);
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int r = 0; r < block.rows; ++r) sum += entropy[r];
    sums[classes] += sum;
  });
  const std::int64_t chunks = RowBlocks{op.rows, classes}.chunks();
  const auto rows = static_cast<double>(op.rows);
  double loss = 0;
  for (int k = 0; k < classes; ++k) {
    const double use = total(partial, chunks, columns, k) / rows;
    static_cast<float*>(op.use)[k] = static_cast<float>(use);
    const double prior = static_cast<const float*>(op.prior)[k];
    loss += use == 0 ? 0 : use * std::log(use / prior);
  }
  write(op.loss, loss);
  write(op.entropy, total(partial, chunks, columns, classes) / rows);
}

void run(Cpu, const ClassUseBackward& op) {
  const int classes = op.classes;
  const float dloss = value_at(op.dloss) / static_cast<float>(op.rows);
  const float dentropy = value_at(op.dentropy) / static_cast<float>(op.rows);
  // d loss / d p_k, less a constant that the softmax takes away
  const auto gradient_of = [&](int k) {
    const float use = static_cast<const float*>(op.use)[k];
    return use == 0 ? 0 : dloss * std::log(use / static_cast<const float*>(op.prior)[k]);
  };
  for_each_block(op, [&]<class T>(const SoftmaxBlock<T>& block, std::int64_t, std::int64_t first) {
    T* dlogits = static_cast<T*>(op.dlogits) + first * classes;
    alignas(64) float dot[block_rows] = {}, entropy[block_rows], log_sum[block_rows];
    for (int k = 0; k < classes; ++k) {
      const float gradient = gradient_of(k);
#pragma omp simd
      for (int r = 0; r < block.rows; ++r) dot[r] += gradient * block.probability(r, k);
    }
    entropies(block, entropy);
#pragma omp simd
    for (int r = 0; r < block.rows; ++r) log_sum[r] = fast_log1p(block.rest[r]);
    for (int k = 0; k < classes; ++k) {
      const float gradient = gradient_of(k);
#pragma omp simd
      for (int r = 0; r < block.rows; ++r) {
        const float p = block.probability(r, k);
        const float log_p = block.below_largest(r, k) - log_sum[r];
        const float d = p * (gradient - dot[r] - dentropy * (log_p + entropy[r]));
        store(dlogits[std::int64_t{r} * classes + k], p == 0 ? 0.0F : d);
      }
    }
  });
}

}  // namespace anaphase::kernels
