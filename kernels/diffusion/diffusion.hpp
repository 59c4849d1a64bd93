// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

// alpha_bar [steps] (param type) is the cumulative signal level of each timestep; t [n] (int32)
// indexes it. Noise is drawn in the kernel, as kernels/random/random.hpp defines RandomNormal.

namespace anaphase::kernels {

/// Forward process (Ho et al., arXiv 2006.11239, eq. 4), t per sample:
///   x_t = sqrt(alpha_bar[t]) * x + sqrt(1 - alpha_bar[t]) * noise
/// x, x_t, noise [n, per_sample]; `noise` keeps what was drawn (null: not wanted). x_t may be x
/// itself.
struct ForwardNoise {
  int n = 1;
  std::int64_t per_sample = 0;
  DType type = DType::f32;
  const void* x = nullptr;
  const std::int32_t* t = nullptr;
  const void* alpha_bar = nullptr;
  const std::uint64_t* keys = nullptr;
  std::uint32_t draw = 0;
  void* x_t = nullptr;
  void* noise = nullptr;
};

/// dx = sqrt(alpha_bar[t]) * dx_t. dx may be dx_t itself.
struct ForwardNoiseBackward {
  int n = 1;
  std::int64_t per_sample = 0;
  DType type = DType::f32;
  const std::int32_t* t = nullptr;
  const void* alpha_bar = nullptr;
  const void* dx_t = nullptr;
  void* dx = nullptr;
};

/// The clean signal from a noise prediction: x0 = (x_t - sqrt(1 - alpha_bar[t]) * noise) /
/// sqrt(alpha_bar[t]), clamped to [low, high]. x0 may be x_t or noise itself.
struct PredictClean {
  int n = 1;
  std::int64_t per_sample = 0;
  DType type = DType::f32;
  float low = -1, high = 1;
  const std::int32_t* t = nullptr;
  const void* alpha_bar = nullptr;
  const void* x_t = nullptr;
  const void* noise = nullptr;
  void* x0 = nullptr;
};

/// One step back, in the form that DDPM, DDIM and DPM-Solver++(2M) share (arXiv 2006.11239 eq. 7,
/// 2010.02502 eq. 12, 2211.01095 algorithm 2):
///   x0 = clamp(x0_from_x * x_t + x0_from_prediction * prediction, low, high)
///   x_prev = from_x0 * x0 + from_x0_before * x0_before + from_x * x_t + sigma * noise,
///   noise ~ N(0, 1) from (keys, draw)
/// The coefficients of all steps are computed on the host from the schedule
/// (models/diffusion/sampler.hpp) and lie in device memory, as does the number of the step, so that
/// one program serves all steps. sigma = 0 draws nothing, and where from_x0_before is 0, x0_before
/// has no influence, be it NaN. x_prev may be x_t; `x0` (null: not wanted) gets the clean estimate;
/// x0_before (null: from_x0_before unused) is that of the step before, and may be x0.
struct ReverseStepCoefficients {
  enum : int { x0_from_x, x0_from_prediction, from_x0, from_x0_before, from_x, sigma, count };
};
struct ReverseStep {
  int n = 1;
  std::int64_t per_sample = 0;
  DType type = DType::f32;
  float low = -1, high = 1;
  const void* coefficients = nullptr;  // [steps, ReverseStepCoefficients::count], param type
  const std::int32_t* step = nullptr;  // one value: the row of coefficients; draw is draw + *step
  const void* x_t = nullptr;
  const void* prediction = nullptr;
  const void* x0_before = nullptr;
  const std::uint64_t* keys = nullptr;
  std::uint32_t draw = 0;
  void* x_prev = nullptr;
  void* x0 = nullptr;
};

/// Goes on to the next step of a reverse process: *step += 1, t[i] = timesteps[*step] for all i <
/// n.
struct NextStep {
  int n = 1;
  const std::int32_t* timesteps = nullptr;  // [steps]
  std::int32_t* step = nullptr;             // one value, -1 before the first step
  std::int32_t* t = nullptr;                // [n]
};

/// Sinusoidal embedding of timesteps (Vaswani et al., arXiv 1706.03762), half = channels / 2, i <
/// half:
///   y[s, i] = sin(t[s] * f_i), y[s, half + i] = cos(t[s] * f_i), f_i = 10000^(-i / half); odd last
///   channel 0.
/// y [n, channels].
struct TimestepEmbedding {
  int n = 1;
  int channels = 2;
  DType type = DType::f32;
  const std::int32_t* t = nullptr;
  void* y = nullptr;
};

void run(Reference, const ForwardNoise& op);
void run(Reference, const ForwardNoiseBackward& op);
void run(Reference, const PredictClean& op);
void run(Reference, const ReverseStep& op);
void run(Reference, const NextStep& op);
void run(Reference, const TimestepEmbedding& op);

void run(Cpu, const ForwardNoise& op);
void run(Cpu, const ForwardNoiseBackward& op);
void run(Cpu, const PredictClean& op);
void run(Cpu, const ReverseStep& op);
void run(Cpu, const NextStep& op);
void run(Cpu, const TimestepEmbedding& op);

void run(Cuda, const ForwardNoise& op);
void run(Cuda, const ForwardNoiseBackward& op);
void run(Cuda, const PredictClean& op);
void run(Cuda, const ReverseStep& op);
void run(Cuda, const NextStep& op);
void run(Cuda, const TimestepEmbedding& op);

void run(Simt, const ForwardNoise& op);
void run(Simt, const ForwardNoiseBackward& op);
void run(Simt, const PredictClean& op);
void run(Simt, const ReverseStep& op);
void run(Simt, const NextStep& op);
void run(Simt, const TimestepEmbedding& op);

}  // namespace anaphase::kernels
