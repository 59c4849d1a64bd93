// SPDX-License-Identifier: Apache-2.0
#pragma once

// Random numbers for the CPU kernels, many blocks at a time. Samples are cut into pieces of a fixed
// size, and every piece is computed by the same code whatever the batch and the threads, so that a
// number depends on its key, draw and position alone.

#include <algorithm>
#include <cstdint>

#include "kernels/common/parallel.hpp"

namespace anaphase::kernels {

inline constexpr int random_piece = 1024;  // elements; a multiple of 4

/// body(sample, begin, count) over the pieces of n samples.
template <class Body>
void parallel_pieces(int n, std::int64_t per_sample, Body&& body) {
  const std::int64_t pieces = chunks_of(per_sample, random_piece);
  parallel_for(n * pieces, random_piece, [&](std::int64_t i) {
    const std::int64_t begin = i % pieces * random_piece;
    body(i / pieces, begin,
         static_cast<int>(std::min<std::int64_t>(random_piece, per_sample - begin)));
  });
}

/// Uniform numbers of the elements from `begin` (a multiple of 4) on. At least `count` of them are
/// written; all of `u` may be.
void uniforms(std::uint64_t key, std::uint32_t draw, std::int64_t begin, int count,
              float (&u)[random_piece]);

/// Normal numbers, likewise.
void normals(std::uint64_t key, std::uint32_t draw, std::int64_t begin, int count,
             float (&z)[random_piece]);

}  // namespace anaphase::kernels
