// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/ladder.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <concepts>
#include <functional>
#include <string>
#include <vector>

#include "tests/kernels/contract.hpp"

// Every kernel of the reverse step by its name, whichever of them reverse_step.cu would choose.

namespace anaphase::test {
using namespace kernels;

namespace {

using C = ReverseStepCoefficients;
constexpr double rounding = 0x1p-24;   // of one float operation
constexpr double normal_error = 2e-6;  // of a normal number in float

/// A reverse step by one of the rungs.
struct OnRung {
  ReverseStep op;
  reverse_step::Rung rung;
  void* workspace = nullptr;
};

void run(Reference, const OnRung& call) {
  kernels::run(Reference{}, call.op);
}
void run(Cpu, const OnRung& call) {
  kernels::run(Cpu{}, call.op);
}

template <class Device>
concept Gpu = std::same_as<Device, Cuda> || std::same_as<Device, Simt>;

template <Gpu Device>
std::size_t workspace_bytes(Device, const OnRung& call) {
  return reverse_step::workspace_bytes(call.rung, call.op);
}
template <Gpu Device>
void run(Device device, const OnRung& call) {
  reverse_step::run(device, call.rung, call.op, call.workspace);
}

enum class Outputs { apart, x_prev_over_x_t, all_in_place };

struct Case {
  int n = 3;
  std::int64_t length = 1;
  double from_before = 0, sigma = 0.3;
  Outputs outputs = Outputs::apart;
};

OnRung call_of(Arena& m, reverse_step::Rung rung, const Case& c) {
  const std::int64_t count = c.n * c.length;
  std::vector<std::uint64_t> keys(c.n);
  for (int i = 0; i < c.n; ++i) keys[i] = 0x9E3779B97F4A7C15ULL * (i + 1);
  std::vector<double> coefficients(C::count, NAN);  // of another step
  for (const double value : {1.6, -1.3, 0.7, c.from_before, 0.4, c.sigma})
    coefficients.push_back(value);
  void* x_t = m.in_out("x_t", count);
  void* before = m.in_out("x0_before", count);
  const bool apart = c.outputs == Outputs::apart;
  void* x0 = c.outputs == Outputs::all_in_place ? before : nullptr;
  return {.op = {.n = c.n,
                 .per_sample = c.length,
                 .type = m.type(),
                 .low = -0.9F,
                 .high = 1.1F,
                 .coefficients = m.param_input("coefficients", coefficients),
                 .step = m.labels("step", {1}),
                 .x_t = x_t,
                 .prediction = m.input("prediction", count),
                 .x0_before = before,
                 .keys = m.keys("keys", keys),
                 .draw = 0xFFFFFFFFU,  // draw + step wraps around
                 .x_prev = apart ? m.output("x_prev", count) : x_t,
                 .x0 = apart ? m.output("x0", count) : x0},
          .rung = rung};
}

void for_each_gpu_rung(const std::function<void(const Target&, reverse_step::Rung)>& visit) {
  for_each_target([&](const Target& target) {
    if (target.stream.kind == DeviceKind::cpu) return;
    for (const auto& [rung, rung_name] : reverse_step::ladder) {
      const std::string name = rung_name;
      CAPTURE(name);
      visit(target, rung);
    }
  });
}

}  // namespace

TEST_CASE("every rung of the reverse step agrees with the reference") {
  std::vector<Case> cases;
  for (const std::int64_t length : {1, 3, 7, 8, 17, 33, 127, 128, 1025, 2048})
    cases.push_back({.length = length, .from_before = -0.6});
  for (const Outputs outputs : {Outputs::x_prev_over_x_t, Outputs::all_in_place})
    for (const double from_before : {0.0, 0.5})
      for (const double sigma : {0.0, 0.3})
        cases.push_back(
            {.length = 40, .from_before = from_before, .sigma = sigma, .outputs = outputs});
  cases.push_back({.n = 1027, .length = 8});  // more samples than the grid has rows
  for (const Case& c : cases)
    for_each_gpu_rung([&](const Target& target, reverse_step::Rung rung) {
      CAPTURE(c.length);
      Arena sizes({DeviceKind::reference}, target.type, target.type);
      if (!reverse_step::takes(rung, call_of(sizes, rung, c).op)) return;
      // estimates of up to 4 before the clamp, sums of up to 5 after it
      compare(target, [&](Arena& m) { return call_of(m, rung, c); },
              {.absolute = c.sigma * normal_error + 16 * rounding * 5});
    });
}

}  // namespace anaphase::test
