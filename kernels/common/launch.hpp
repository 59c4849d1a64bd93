// SPDX-License-Identifier: Apache-2.0
#pragma once

// How an operation reaches the device it runs on.
//
// An operation is a struct of sizes and raw pointers (the contract, in `<operation>.hpp`).
// To implement it on a device is to overload `run(Device, const Operation&)`; if it wants scratch
// memory, also `workspace_bytes(Device, const Operation&)`, which reads sizes only, never pointers.
// `launch` finds the overloads by argument-dependent lookup, so adding an operation or a device
// edits no table.
//
// The rules every operation keeps:
//   * channels last: activations are [N, (D,) H, W, C], dense, aligned to 64 bytes;
//   * `type` is the element type of the activations; parameters, statistics and losses have
//     param_type(type); labels and timesteps are int32, keys are uint64;
//   * outputs are overwritten, never accumulated into; inputs and outputs do not overlap unless the
//     operation says they may;
//   * sums run in float (double on the reference device) in an order that depends on the sizes
//     alone: the same call gives the same bits with any number of threads (ConvWeightGradient on
//     the CPU: with the same number of threads);
//   * sizes are checked by the engine, once, when a call is made; a kernel trusts them.

#include <cstddef>
#include <string>

#include "kernels/common/error.hpp"
#include "kernels/common/types.hpp"

namespace anaphase::kernels {

/// Plain loops in double precision (type f64 only): the formulas, and the oracle of every test.
struct Reference {};
/// oneDNN and vectorised loops on all cores (types f32 and bf16).
struct Cpu {};
/// One CUDA device; `stream` is a cudaStream_t.
struct Cuda {
  int index = 0;
  void* stream = nullptr;
};
/// The CUDA kernels on the processor, by the executor of kernels/simt; `stream` is its
/// cudaStream_t.
struct Simt {
  int index = 0;
  void* stream = nullptr;
};

/// What this build can run on.
#if defined(ANAPHASE_WITH_CUDA)
inline constexpr bool has_cuda = true;
#else
inline constexpr bool has_cuda = false;
#endif
#if defined(ANAPHASE_WITH_SIMT)
inline constexpr bool has_simt = true;
#else
inline constexpr bool has_simt = false;
#endif

enum class DeviceKind : unsigned char { reference, cpu, cuda, simt };

/// An in-order queue of a device. Calls on a CPU, the reference device or simt have finished when
/// they return; calls on a CUDA device have been enqueued.
struct Stream {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  void* handle = nullptr;
};

template <class Device, class Operation>
std::size_t workspace_bytes(Device, const Operation&) {
  return 0;
}

/// The parameters of a forward operation in the layout that a device computes with, made once where
/// they stay the same over many calls: from op.weight to `packed`, of packed_bytes(device, op)
/// bytes. 0 bytes: the device takes them as the contract lays them out. An op that is given
/// `packed` does not read `weight`.
template <class Operation>
struct Pack {
  Operation op;
  void* packed = nullptr;
};
template <class Device, class Operation>
std::size_t packed_bytes(Device, const Operation&) {
  return 0;
}

/// Calls `visit` with the tag of the stream's device.
template <class Operation, class Visit>
auto on_device(const Stream& stream, Visit&& visit) {
  switch (stream.kind) {
    case DeviceKind::reference:
      if constexpr (requires(Reference device, const Operation& op) { run(device, op); })
        return visit(Reference{});
      break;
    case DeviceKind::cpu:
      return visit(Cpu{});
    case DeviceKind::cuda:
      if constexpr (has_cuda && requires(Cuda device, const Operation& op) { run(device, op); })
        return visit(Cuda{stream.index, stream.handle});
      break;
    case DeviceKind::simt:
      if constexpr (has_simt && requires(Simt device, const Operation& op) { run(device, op); })
        return visit(Simt{stream.index, stream.handle});
      break;
  }
  throw Error("this build has no kernel of an operation for the device: use --device cpu");
}

/// Runs (or, on CUDA, enqueues) `op` on the stream's device.
template <class Operation>
void launch(const Stream& stream, const Operation& op) {
  on_device<Operation>(stream, [&](auto device) { run(device, op); });
}

/// Scratch memory that `op.workspace` has to point to, 0 if none.
template <class Operation>
std::size_t workspace_bytes(const Stream& stream, const Operation& op) {
  return on_device<Operation>(stream, [&](auto device) { return workspace_bytes(device, op); });
}

/// Bytes of the operation's packed parameters on the stream's device, 0 if it packs none.
template <class Operation>
std::size_t packed_bytes(const Stream& stream, const Operation& op) {
  return on_device<Operation>(stream, [&](auto device) { return packed_bytes(device, op); });
}

}  // namespace anaphase::kernels
