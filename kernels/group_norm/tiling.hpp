// SPDX-License-Identifier: Apache-2.0
#pragma once

// How the GPU's group norm cuts up its work: functions of the sizes alone, so that sums have the
// same order on every device.

#include <algorithm>
#include <numeric>
#include <optional>

#include "kernels/group_norm/group_norm.hpp"

namespace anaphase::kernels::group_norm {

/// The most groups that a block normalises at once.
inline constexpr int most_groups = 64;

/// A block takes `vectors` vectors of `lanes` elements of each pixel: whole groups, whole vectors.
struct SlabTiling {
  int lanes;            // 16 bytes, or one element where the channels are no multiple of that
  bool is_run;          // whether all lanes of a vector belong to one group
  int vectors;          // of a block's part of a pixel
  int slabs;            // of a sample
  int threads;          // of a block
  int held;             // vectors that a thread has in registers at once
  std::int64_t pixels;  // of a block
  std::int64_t chunks;  // of a sample: blocks that share a slab

  int rows() const { return threads / vectors; }
};

/// The slab whose part of a pixel is `row_bytes` or a little more. The unit is the least common
/// multiple of a group and a vector, which divides the channels because both do.
inline SlabTiling tile_channels(const GroupNormShape& shape, DType type, int row_bytes) {
  const int size = static_cast<int>(size_of(type)), wide = 16 / size;
  const int members = shape.channels / shape.groups;
  SlabTiling tiling{};
  tiling.lanes = shape.channels % wide == 0 ? wide : 1;
  tiling.is_run = members % tiling.lanes == 0;
  const int unit = std::lcm(members, tiling.lanes), units = shape.channels / unit;
  int taken = 1;
  for (int k = 1; k <= units && taken * unit * size < row_bytes; ++k)
    if (units % k == 0 && k * unit / members <= most_groups) taken = k;
  tiling.vectors = taken * unit / tiling.lanes;
  tiling.slabs = units / taken;
  return tiling;
}

/// A block walks over all pixels of a slab.
inline std::optional<SlabTiling> tile_whole(const GroupNormShape& shape, DType type) {
  SlabTiling tiling = tile_channels(shape, type, 64);
  tiling.threads = 256;
  tiling.held = 4;
  tiling.pixels = shape.pixels;
  tiling.chunks = 1;
  if (tiling.vectors > tiling.threads) return std::nullopt;
  return tiling;
}

/// The vectors of each of `tensors` tensors that a thread holds: of a larger block more, so that
/// its slab grows with the square of its threads. Where groups begin inside vectors, a thread knows
/// more of its channels and has less room.
constexpr int vectors_held(int threads, int tensors, bool is_run) {
  const int most = is_run ? 16 : tensors == 1 ? 8 : 6;
  return std::min(threads / 32, most) / tensors;
}

/// A block holds all pixels of a slab, of one tensor or (backward) of two, in registers.
inline std::optional<SlabTiling> tile_on_chip(const GroupNormShape& shape, DType type,
                                              int tensors) {
  for (const int row_bytes : {64, 32}) {
    SlabTiling tiling = tile_channels(shape, type, row_bytes);
    tiling.pixels = shape.pixels;
    tiling.chunks = 1;
    for (const int threads : {128, 256, 512}) {
      tiling.threads = threads;
      tiling.held = vectors_held(threads, tensors, tiling.is_run);
      if (tiling.rows() * std::int64_t{tiling.held} >= shape.pixels) return tiling;
    }
  }
  return std::nullopt;
}

/// The pixels of a slab are cut into chunks of whole tiles (what a block holds at once), for about
/// 1024 blocks in all.
inline std::optional<SlabTiling> tile_split(const GroupNormShape& shape, DType type, int tensors) {
  constexpr std::int64_t blocks = 1024;
  SlabTiling tiling = tile_channels(shape, type, 128);
  tiling.threads = 256;
  tiling.held = 8 / tensors;  // of each tensor
  if (tiling.vectors > tiling.threads) return std::nullopt;
  const std::int64_t tile = std::int64_t{tiling.rows()} * tiling.held;
  const auto parts = [&](std::int64_t each) { return (shape.pixels + each - 1) / each; };
  const std::int64_t wanted = blocks / (std::int64_t{shape.n} * tiling.slabs);
  const std::int64_t chunks = std::clamp<std::int64_t>(wanted, 1, parts(tile));
  tiling.pixels = (parts(tile) + chunks - 1) / chunks * tile;
  tiling.chunks = parts(tiling.pixels);
  return tiling;
}

}  // namespace anaphase::kernels::group_norm
