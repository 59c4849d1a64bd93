// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/philox.hpp"
#include "kernels/common/vector_math.hpp"
#include "kernels/random/normal.hpp"
#include "kernels/random/philox_cpu.hpp"
#include "kernels/random/random.hpp"

namespace anaphase::kernels {
namespace {

constexpr int group = 16;  // blocks computed together, in the lanes of vector registers

/// Calls numbers_of_block(block, out) for groups of blocks that cover `count` elements.
template <class Numbers>
void for_blocks(std::uint64_t key, std::uint32_t draw, std::int64_t begin, int count, float* out,
                Numbers&& numbers_of_block) {
  for (int i = 0; i < count; i += 4 * group)
    for (int j = 0; j < group; ++j) {
      const PhiloxBlock block = philox(key, static_cast<std::uint64_t>((begin + i) / 4 + j), draw);
      numbers_of_block(block, out + i + 4 * j);
    }
}

}  // namespace

void uniforms(std::uint64_t key, std::uint32_t draw, std::int64_t begin, int count,
              float (&u)[random_piece]) {
  for_blocks(key, draw, begin, count, u, [](const PhiloxBlock& block, float* out) {
    for (int lane = 0; lane < 4; ++lane) out[lane] = uniform_from_bits(block.lane[lane]);
  });
}

void normals(std::uint64_t key, std::uint32_t draw, std::int64_t begin, int count,
             float (&z)[random_piece]) {
  for_blocks(key, draw, begin, count, z,
             [](const PhiloxBlock& block, float* out) { normals_of_block(block, out); });
}

void run(Cpu, const RandomNormal& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    auto* y = static_cast<T*>(op.y);
    parallel_pieces(op.n, op.per_sample, [&](std::int64_t sample, std::int64_t begin, int count) {
      float z[random_piece];
      normals(op.keys[sample], op.draw, begin, count, z);
      T* out = y + sample * op.per_sample + begin;
      for (int i = 0; i < count; ++i) store(out[i], z[i]);
    });
  });
}

void run(Cpu, const RandomInteger& op) {
  for (int s = 0; s < op.n; ++s)
    op.t[s] = integer_from_bits(philox(op.keys[s], 0, op.draw).lane[0], op.low, op.high);
}

}  // namespace anaphase::kernels
