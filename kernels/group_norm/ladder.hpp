// SPDX-License-Identifier: Apache-2.0
#pragma once

// The ways in which the GPU's group norm has been computed, one idea a file (see README.md). All
// stay compiled, tested and timed; group_norm.cu chooses one by the sizes.

#include <cstddef>

#include "kernels/group_norm/tiling.hpp"

namespace anaphase::kernels::group_norm {

enum class Rung { v1_plain, v2_coalesced, v3_on_chip, v4_split };

struct NamedRung {
  Rung rung;
  const char* name;
};
inline constexpr NamedRung ladder[] = {{Rung::v1_plain, "v1_plain"},
                                       {Rung::v2_coalesced, "v2_coalesced"},
                                       {Rung::v3_on_chip, "v3_on_chip"},
                                       {Rung::v4_split, "v4_split"}};

void v1_plain(Cuda, const GroupNormForward& op);
void v1_plain(Cuda, const GroupNormBackward& op);
void v2_coalesced(Cuda, const GroupNormForward& op);
void v2_coalesced(Cuda, const GroupNormBackward& op);
void v3_on_chip(Cuda, const GroupNormForward& op);
void v3_on_chip(Cuda, const GroupNormBackward& op);
void v4_split(Cuda, const GroupNormForward& op);
void v4_split(Cuda, const GroupNormBackward& op);

void v1_plain(Simt, const GroupNormForward& op);
void v1_plain(Simt, const GroupNormBackward& op);
void v2_coalesced(Simt, const GroupNormForward& op);
void v2_coalesced(Simt, const GroupNormBackward& op);
void v3_on_chip(Simt, const GroupNormForward& op);
void v3_on_chip(Simt, const GroupNormBackward& op);
void v4_split(Simt, const GroupNormForward& op);
void v4_split(Simt, const GroupNormBackward& op);

/// Tensors of x's size that are read: x, and in the backward pass dy.
constexpr int tensors_read(const GroupNormForward&) {
  return 1;
}
constexpr int tensors_read(const GroupNormBackward&) {
  return 2;
}

/// Whether a rung takes an operation of these sizes; the first one takes all.
template <class Operation>
bool takes(Rung rung, const Operation& op) {
  switch (rung) {
    case Rung::v1_plain:
      return true;
    case Rung::v2_coalesced:
      return tile_whole(op.shape, op.type).has_value();
    case Rung::v3_on_chip:
      return tile_on_chip(op.shape, op.type, tensors_read(op)).has_value();
    case Rung::v4_split:
      return tile_split(op.shape, op.type, tensors_read(op)).has_value();
  }
  return false;
}

/// Scratch memory of a rung that takes the operation.
inline std::size_t workspace_of(Rung rung, const GroupNormForward& op) {
  if (rung != Rung::v4_split) return 0;
  // The first value of every group, and its mean and square in each chunk.
  const std::size_t groups = std::size_t{static_cast<unsigned>(op.shape.n)} * op.shape.groups;
  return groups * (1 + 2 * tile_split(op.shape, op.type, 1)->chunks) * sizeof(float);
}
inline std::size_t workspace_of(Rung rung, const GroupNormBackward& op) {
  // Two sums over each chunk, for every channel and, where chunks are merged, every group.
  const bool is_split = rung == Rung::v4_split;
  const std::size_t chunks = is_split ? tile_split(op.shape, op.type, 2)->chunks : 1;
  return op.shape.n * chunks * 2 * (op.shape.channels + (is_split ? op.shape.groups : 0)) *
         sizeof(float);
}

/// The rung that is fastest for these sizes: on chip, where memory is read once, unless that leaves
/// most of a GPU idle.
template <class Operation>
Rung best_rung(const Operation& op) {
  constexpr std::int64_t least_blocks = 32, small_block = 32 << 10;
  if (const auto tiling = tile_on_chip(op.shape, op.type, tensors_read(op))) {
    const std::int64_t blocks = std::int64_t{op.shape.n} * tiling->slabs;
    const std::int64_t bytes = op.shape.pixels * tiling->vectors * tiling->lanes *
                               static_cast<std::int64_t>(size_of(op.type));
    if (blocks >= least_blocks || bytes <= small_block) return Rung::v3_on_chip;
  }
  return takes(Rung::v4_split, op) ? Rung::v4_split : Rung::v1_plain;
}

template <class Device, class Operation>
void run_on(Rung rung, Device device, const Operation& op) {
  switch (rung) {
    case Rung::v1_plain:
      return v1_plain(device, op);
    case Rung::v2_coalesced:
      return v2_coalesced(device, op);
    case Rung::v3_on_chip:
      return v3_on_chip(device, op);
    case Rung::v4_split:
      return v4_split(device, op);
  }
}

/// The operation by a rung of its own choice, for tests and benchmarks.
template <class Operation>
struct ByRung : Operation {
  Rung rung;
};
template <class Operation>
ByRung(Operation, Rung) -> ByRung<Operation>;
template <class Operation>
void run(Cuda cuda, const ByRung<Operation>& op) {
  run_on<Cuda, Operation>(op.rung, cuda, op);
}
template <class Operation>
void run(Simt simt, const ByRung<Operation>& op) {
  run_on<Simt, Operation>(op.rung, simt, op);
}
template <class Operation>
std::size_t workspace_bytes(Cuda, const ByRung<Operation>& op) {
  return workspace_of(op.rung, op);
}
template <class Operation>
std::size_t workspace_bytes(Simt, const ByRung<Operation>& op) {
  return workspace_of(op.rung, op);
}

}  // namespace anaphase::kernels::group_norm
