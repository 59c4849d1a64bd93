// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/attention/attention.hpp"
#include "kernels/common/matrix_product.hpp"
#include "kernels/common/onednn.hpp"
#include "kernels/common/parallel.hpp"
#include "kernels/common/vector_math.hpp"

// Work is cut into blocks of queries of one head. Everything about a block is kept transposed, one
// query a column: maxima, sums and exponentials of the softmax then run down the columns, all
// queries of the block at once. Keys and values are unpacked to float for as long as the blocks
// stay with one head.

namespace anaphase::kernels {
namespace {

constexpr int block = 64;  // queries

/// Sizes that follow from the shape.
struct Layout {
  AttentionShape shape;
  std::int64_t heads;  // of all samples
  int blocks;          // of queries in a head
  int width;           // head_dim, filled up for rows that are vectors of a product
  float scale;

  explicit Layout(const AttentionShape& s)
      : shape(s),
        heads(std::int64_t{s.n} * s.heads),
        blocks((s.tokens + block - 1) / block),
        width((s.head_dim + column_multiple - 1) / column_multiple * column_multiple),
        scale(static_cast<float>(1 / std::sqrt(static_cast<double>(s.head_dim)))) {}

  std::int64_t row() const { return std::int64_t{shape.heads} * shape.head_dim; }
  std::int64_t head_floats() const { return std::int64_t{shape.tokens} * width; }
  std::int64_t score_floats() const { return std::int64_t{shape.tokens} * block; }
  std::int64_t block_floats() const { return std::int64_t{width} * block; }
};

/// The rows of one head, `stride` elements apart.
template <class T>
struct Rows {
  T* data;
  std::int64_t stride;
};

/// Head `head` (of all samples) of a [n, tokens, heads, head_dim] tensor, from `token` on.
template <class T, class Pointer>
Rows<T> rows_of(const Layout& layout, Pointer tensor, std::int64_t head, int token) {
  const AttentionShape& s = layout.shape;
  const std::int64_t n = head / s.heads, h = head % s.heads;
  return {static_cast<T*>(tensor) + (n * s.tokens + token) * layout.row() + h * s.head_dim,
          layout.row()};
}

/// The same of part 0 (q), 1 (k) or 2 (v) of qkv.
template <class T, class Pointer>
Rows<T> rows_of_part(const Layout& layout, Pointer qkv, int part, std::int64_t head, int token) {
  const AttentionShape& s = layout.shape;
  const std::int64_t n = head / s.heads, h = head % s.heads;
  return {
      static_cast<T*>(qkv) + ((n * s.tokens + token) * 3 + part) * layout.row() + h * s.head_dim,
      3 * layout.row()};
}

/// to[r][0..width) = factor * row r; zero behind head_dim.
template <class T>
void load(const Layout& layout, Rows<const T> rows, int count, float* to, float factor = 1) {
  for (int r = 0; r < count; ++r, to += layout.width) {
    const T* from = rows.data + r * rows.stride;
    for (int d = 0; d < layout.shape.head_dim; ++d) to[d] = factor * static_cast<float>(from[d]);
    std::fill(to + layout.shape.head_dim, to + layout.width, 0.0F);
  }
}

/// to[d][r] = from[r][d] for a loaded block of `count` rows; columns behind them are zero.
void transpose(const Layout& layout, const float* from, int count, float* to) {
  for (int d = 0; d < layout.shape.head_dim; ++d) {
    for (int r = 0; r < count; ++r) to[d * block + r] = from[r * layout.width + d];
    std::fill(to + d * block + count, to + (d + 1) * block, 0.0F);
  }
}

/// row r = factor[r] * from[.][r].
template <class T>
void store_transposed(const Layout& layout, const float* from, const float* factor, int count,
                      Rows<T> rows) {
  for (int r = 0; r < count; ++r)
    for (int d = 0; d < layout.shape.head_dim; ++d)
      store(rows.data[r * rows.stride + d], factor[r] * from[d * block + r]);
}

/// out[j][r] = row j of `rows` . column r of `columns`: scores, or gradients of probabilities.
void multiply_rows(const Layout& layout, const float* rows, const float* columns, float* out) {
  multiply({.m = layout.shape.tokens,
            .n = block,
            .k = layout.shape.head_dim,
            .a = rows,
            .a_row = layout.width,
            .a_column = 1,
            .b = columns,
            .b_row = block,
            .c = out,
            .c_row = block});
}

/// out[d][r] = sum over tokens j of rows[j][d] * weights[j][r].
void sum_rows(const Layout& layout, const float* rows, const float* weights, float* out) {
  multiply({.m = layout.shape.head_dim,
            .n = block,
            .k = layout.shape.tokens,
            .a = rows,
            .a_row = 1,
            .a_column = layout.width,
            .b = weights,
            .b_row = block,
            .c = out,
            .c_row = block});
}

/// out[j][d] += sum over queries r of weights[j][r] * queries[r][d].
void add_queries(const Layout& layout, const float* weights, const float* queries, float* out) {
  multiply({.m = layout.shape.tokens,
            .n = layout.width,
            .k = block,
            .a = weights,
            .a_row = block,
            .a_column = 1,
            .b = queries,
            .b_row = layout.width,
            .c = out,
            .c_row = layout.width,
            .accumulate = true});
}

/// Scores become exp(score - maximum of the column).
void exponentiate(const Layout& layout, float* scores, float* largest, float* sum) {
  std::fill_n(largest, block, -INFINITY);
  for (int j = 0; j < layout.shape.tokens; ++j)
    for (int r = 0; r < block; ++r)
      largest[r] = scores[j * block + r] > largest[r] ? scores[j * block + r] : largest[r];
  std::fill_n(sum, block, 0.0F);
  for (int j = 0; j < layout.shape.tokens; ++j)
    for (int r = 0; r < block; ++r) {
      const float e = fast_exp(scores[j * block + r] - largest[r]);
      scores[j * block + r] = e;
      sum[r] += e;
    }
}

/// Hands out consecutive pieces of float memory.
struct Pieces {
  float* next;
  float* take(std::int64_t floats) {
    float* piece = next;
    next += floats;
    return piece;
  }
};

std::int64_t forward_slot_floats(const Layout& layout) {
  return 2 * layout.head_floats() + layout.score_floats() + 3 * layout.block_floats();
}

template <class T>
void forward(const AttentionForward& op) {
  const Layout layout(op.shape);
  const int tokens = layout.shape.tokens;
  onednn::for_each_slot(
      layout.heads * layout.blocks, [&](std::int64_t slot, std::int64_t first, std::int64_t last) {
        Pieces memory{static_cast<float*>(op.workspace) + slot * forward_slot_floats(layout)};
        float* keys = memory.take(layout.head_floats());
        float* values = memory.take(layout.head_floats());
        float* scores = memory.take(layout.score_floats());
        float* queries = memory.take(layout.block_floats());
        float* query_columns = memory.take(layout.block_floats());
        float* out = memory.take(layout.block_floats());
        float largest[block], sum[block], factor[block];
        for (std::int64_t item = first; item < last; ++item) {
          const std::int64_t head = item / layout.blocks;
          const int token = static_cast<int>(item % layout.blocks) * block;
          const int count = std::min(block, tokens - token);
          if (item == first || token == 0) {
            load(layout, rows_of_part<const T>(layout, op.qkv, 1, head, 0), tokens, keys);
            load(layout, rows_of_part<const T>(layout, op.qkv, 2, head, 0), tokens, values);
          }
          load(layout, rows_of_part<const T>(layout, op.qkv, 0, head, token), count, queries,
               layout.scale);
          transpose(layout, queries, count, query_columns);
          multiply_rows(layout, keys, query_columns, scores);
          exponentiate(layout, scores, largest, sum);
          sum_rows(layout, values, scores, out);
          float* log_sum_exp = static_cast<float*>(op.log_sum_exp) + head * tokens + token;
          for (int r = 0; r < count; ++r) {
            log_sum_exp[r] = largest[r] + std::log(sum[r]);
            factor[r] = 1 / sum[r];
          }
          store_transposed(layout, out, factor, count, rows_of<T>(layout, op.y, head, token));
        }
      });
}

/// The blocks of a head are summed into dk and dv in `parts` runs, so that a few heads still keep
/// many threads busy; the number depends on sizes alone, and so does the order of the sums.
int parts_of(const Layout& layout) {
  constexpr std::int64_t enough = 16;
  return static_cast<int>(std::clamp<std::int64_t>(enough / layout.heads, 1, layout.blocks));
}

std::int64_t backward_slot_floats(const Layout& layout) {
  return 2 * layout.head_floats() + 2 * layout.score_floats() + 5 * layout.block_floats();
}

template <class T>
void backward(const AttentionBackward& op) {
  const Layout layout(op.shape);
  const int tokens = layout.shape.tokens, parts = parts_of(layout);
  auto* slots = static_cast<float*>(op.workspace);
  float* sums = slots + onednn::threads() * backward_slot_floats(layout);  // dk, dv of each part
  onednn::for_each_slot(
      layout.heads * parts, [&](std::int64_t slot, std::int64_t first, std::int64_t last) {
        Pieces memory{slots + slot * backward_slot_floats(layout)};
        float* keys = memory.take(layout.head_floats());
        float* values = memory.take(layout.head_floats());
        float* probabilities = memory.take(layout.score_floats());
        float* gradients = memory.take(layout.score_floats());  // of probabilities, then of scores
        float* queries = memory.take(layout.block_floats());
        float* dy = memory.take(layout.block_floats());
        float* columns = memory.take(layout.block_floats());
        float* dy_columns = memory.take(layout.block_floats());
        float* dq = memory.take(layout.block_floats());
        float mean[block] = {}, log_sum_exp[block] = {}, factor[block];
        std::fill_n(factor, block, layout.scale);
        for (std::int64_t item = first; item < last; ++item) {
          const std::int64_t head = item / parts;
          const auto part = static_cast<int>(item % parts);
          float* dk = sums + item * 2 * layout.head_floats();
          float* dv = dk + layout.head_floats();
          std::fill_n(dk, 2 * layout.head_floats(), 0.0F);
          load(layout, rows_of_part<const T>(layout, op.qkv, 1, head, 0), tokens, keys);
          load(layout, rows_of_part<const T>(layout, op.qkv, 2, head, 0), tokens, values);
          for (int b = part * layout.blocks / parts; b < (part + 1) * layout.blocks / parts; ++b) {
            const int token = b * block, count = std::min(block, tokens - token);
            const Rows<const T> y = rows_of<const T>(layout, op.y, head, token);
            // Columns behind the last query have zero queries and dy: they add nothing below.
            std::fill_n(queries, 2 * layout.block_floats(), 0.0F);
            load(layout, rows_of_part<const T>(layout, op.qkv, 0, head, token), count, queries,
                 layout.scale);
            load(layout, rows_of<const T>(layout, op.dy, head, token), count, dy);
            const float* kept = static_cast<const float*>(op.log_sum_exp) + head * tokens + token;
            for (int r = 0; r < block; ++r) {
              float dot = 0;
              const int channels = r < count ? layout.shape.head_dim : 0;
#pragma omp simd reduction(+ : dot)
              for (int d = 0; d < channels; ++d)
                dot += dy[r * layout.width + d] * static_cast<float>(y.data[r * y.stride + d]);
              mean[r] = dot;
              log_sum_exp[r] = r < count ? kept[r] : 0;
            }
            transpose(layout, queries, count, columns);
            transpose(layout, dy, count, dy_columns);
            multiply_rows(layout, keys, columns, probabilities);
            multiply_rows(layout, values, dy_columns, gradients);
            for (int j = 0; j < tokens; ++j)
              for (int r = 0; r < block; ++r) {
                float& p = probabilities[j * block + r];
                float& g = gradients[j * block + r];
                p = fast_exp(p - log_sum_exp[r]);
                g = p * (g - mean[r]);
              }
            add_queries(layout, probabilities, dy, dv);
            add_queries(layout, gradients, queries, dk);
            sum_rows(layout, keys, gradients, dq);
            store_transposed(layout, dq, factor, count,
                             rows_of_part<T>(layout, op.dqkv, 0, head, token));
          }
        }
      });
  parallel_for(layout.heads * tokens, 2 * parts * layout.width, [&](std::int64_t i) {
    const std::int64_t head = i / tokens;
    const auto token = static_cast<int>(i % tokens);
    for (const int which : {0, 1}) {  // dk, dv
      const Rows<T> out = rows_of_part<T>(layout, op.dqkv, 1 + which, head, token);
      const float* sum = sums + (head * parts * 2 + which) * layout.head_floats() +
                         std::int64_t{token} * layout.width;
      for (int d = 0; d < layout.shape.head_dim; ++d) {
        float total = 0;
        for (int part = 0; part < parts; ++part) total += sum[part * 2 * layout.head_floats() + d];
        store(out.data[d], total);
      }
    }
  });
}

}  // namespace

void run(Cpu, const AttentionForward& op) {
  with_cpu_type(op.type, [&](auto zero) { forward<decltype(zero)>(op); });
}

void run(Cpu, const AttentionBackward& op) {
  with_cpu_type(op.type, [&](auto zero) { backward<decltype(zero)>(op); });
}

std::size_t workspace_bytes(Cpu, const AttentionForward& op) {
  return onednn::threads() * forward_slot_floats(Layout(op.shape)) * sizeof(float);
}

std::size_t workspace_bytes(Cpu, const AttentionBackward& op) {
  const Layout layout(op.shape);
  return (onednn::threads() * backward_slot_floats(layout) +
          layout.heads * parts_of(layout) * 2 * layout.head_floats()) *
         sizeof(float);
}

}  // namespace anaphase::kernels
