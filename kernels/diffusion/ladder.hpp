// SPDX-License-Identifier: Apache-2.0
#pragma once

// The GPU kernels of the reverse step, one idea a rung (README.md says what each is worth). `run`
// picks the highest rung that takes the sizes; tests and benchmarks call every rung by name.

#include "kernels/diffusion/diffusion.hpp"

namespace anaphase::kernels::reverse_step {

enum class Rung { v1_separate, v2_fused, v3_quads, v4_vectors };

struct NamedRung {
  Rung rung;
  const char* name;
};
inline constexpr NamedRung ladder[] = {{Rung::v1_separate, "v1_separate"},
                                       {Rung::v2_fused, "v2_fused"},
                                       {Rung::v3_quads, "v3_quads"},
                                       {Rung::v4_vectors, "v4_vectors"}};

/// Whether a rung takes an operation of these sizes: v4 wants samples of whole 16 bytes.
constexpr bool takes(Rung rung, const ReverseStep& op) {
  return rung != Rung::v4_vectors ||
         op.per_sample * static_cast<std::int64_t>(size_of(op.type)) % 16 == 0;
}

/// What v1 keeps between its kernels: the clean estimate and the noise, in float.
constexpr std::size_t workspace_bytes(Rung rung, const ReverseStep& op) {
  return rung == Rung::v1_separate
             ? 2 * sizeof(float) * static_cast<std::size_t>(op.n * op.per_sample)
             : 0;
}

void v1_separate(Cuda, const ReverseStep& op, void* workspace);
void v2_fused(Cuda, const ReverseStep& op);
void v3_quads(Cuda, const ReverseStep& op);
void v4_vectors(Cuda, const ReverseStep& op);

void v1_separate(Simt, const ReverseStep& op, void* workspace);
void v2_fused(Simt, const ReverseStep& op);
void v3_quads(Simt, const ReverseStep& op);
void v4_vectors(Simt, const ReverseStep& op);

template <class Device>
void run(Device device, Rung rung, const ReverseStep& op, void* workspace) {
  switch (rung) {
    case Rung::v1_separate:
      return v1_separate(device, op, workspace);
    case Rung::v2_fused:
      return v2_fused(device, op);
    case Rung::v3_quads:
      return v3_quads(device, op);
    case Rung::v4_vectors:
      return v4_vectors(device, op);
  }
}

}  // namespace anaphase::kernels::reverse_step
