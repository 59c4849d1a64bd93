// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/ladder.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <concepts>
#include <string>
#include <vector>

#include "kernels/common/gpu_runtime.hpp"
#include "tests/kernels/contract.hpp"
#include "tests/kernels/conv_sizes.hpp"

// Every convolution kernel for GPUs by its name, whichever of them conv.cu would choose.

namespace anaphase::test {
using namespace kernels;
using conv_ladder::Tiling;

namespace {

enum class Rung { direct, tiled, pipelined, tensor_core, few_outputs };

/// A convolution, or its input gradient, by one of the kernels.
template <class Operation>
struct OnRung {
  Operation op;
  Rung rung;
  Tiling tiling;
  void* workspace = nullptr;
};

template <class Operation>
void run(Reference, const OnRung<Operation>& call) {
  run(Reference{}, call.op);
}
template <class Operation>
void run(Cpu, const OnRung<Operation>& call) {
  run(Cpu{}, call.op);
}

template <class Device>
concept Gpu = std::same_as<Device, Cuda> || std::same_as<Device, Simt>;

template <Gpu Device, class Operation>
std::size_t workspace_bytes(Device, const OnRung<Operation>& call) {
  return conv_ladder::workspace_bytes(call.op, call.tiling);
}

template <Gpu Device, class Operation>
void run(Device device, const OnRung<Operation>& call) {
  Operation op = call.op;
  op.workspace = call.workspace;
  switch (call.rung) {
    case Rung::direct:
      return conv_ladder::v1_direct(device, op);
    case Rung::tiled:
      return conv_ladder::v2_tiled(device, op);
    case Rung::pipelined:
      return conv_ladder::v3_pipelined(device, op, call.tiling);
    case Rung::tensor_core:
      return conv_ladder::v4_tensor_core(device, op, call.tiling);
    case Rung::few_outputs:
      if constexpr (std::same_as<Operation, ConvForward>) conv_ladder::few_outputs(device, op);
  }
}

ConvShape square(int n, int h, int w, int c_in, int c_out, int kernel, int stride, int pad) {
  return {.n = n,
          .h = h,
          .w = w,
          .c_in = c_in,
          .c_out = c_out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .stride_h = stride,
          .stride_w = stride,
          .pad_h = pad,
          .pad_w = pad};
}

/// Channels in and out of multiples of 16 bytes; rows and columns that fill no tile or leave some
/// of the next; strides of which some phases have no tap or no pixel, and more phases than one
/// launch takes; depth.
const std::vector<ConvShape>& shapes() {
  static const std::vector<ConvShape> all = {
      square(1, 1, 1, 1, 1, 1, 1, 0),
      square(2, 7, 9, 5, 7, 3, 1, 1),
      square(2, 11, 7, 16, 33, 3, 1, 1),
      square(2, 9, 8, 17, 16, 3, 2, 1),
      square(1, 10, 12, 8, 24, 4, 2, 1),
      square(2, 13, 5, 48, 3, 1, 1, 0),
      square(1, 8, 8, 3, 64, 1, 2, 0),
      square(1, 1, 5, 8, 16, 3, 2, 1),
      square(1, 6, 6, 127, 1, 3, 1, 1),
      square(2, 9, 9, 1, 16, 3, 1, 1),
      square(2, 9, 9, 2, 8, 3, 1, 1),
      square(2, 9, 9, 4, 8, 3, 2, 1),
      square(3, 9, 8, 16, 1, 3, 1, 1),
      square(1, 9, 7, 24, 2, 3, 1, 1),
      square(1, 5, 7, 40, 3, 3, 1, 1),
      square(1, 9, 7, 8, 4, 3, 1, 1),
      square(1, 3, 3, 200, 24, 3, 1, 1),
      square(1, 7, 6, 8, 8, 3, 4, 2),
      {.n = 2,
       .h = 11,
       .w = 6,
       .c_in = 6,
       .c_out = 10,
       .kernel_w = 5,
       .stride_h = 3,
       .stride_w = 2,
       .pad_w = 2},
      {.h = 5, .w = 13, .c_in = 8, .c_out = 9, .kernel_h = 2, .kernel_w = 10, .pad_w = 5},
      {.n = 2,
       .d = 5,
       .h = 6,
       .w = 7,
       .c_in = 8,
       .c_out = 18,
       .kernel_d = 3,
       .kernel_h = 3,
       .kernel_w = 3,
       .pad_d = 1,
       .pad_h = 1,
       .pad_w = 1},
      {.n = 1,
       .d = 4,
       .h = 5,
       .w = 7,
       .c_in = 16,
       .c_out = 8,
       .kernel_d = 2,
       .kernel_h = 3,
       .kernel_w = 3,
       .stride_d = 2,
       .stride_h = 2,
       .stride_w = 2,
       .pad_h = 1,
       .pad_w = 1},
  };
  return all;
}

/// For all tiles: more than 128 rows and, but for one, of columns; several phases.
const std::vector<ConvShape>& tiled_shapes() {
  static const std::vector<ConvShape> all = {
      square(1, 13, 11, 24, 136, 3, 1, 1),
      square(1, 13, 12, 136, 40, 1, 1, 0),
      square(2, 19, 17, 16, 72, 3, 2, 1),
  };
  return all;
}

/// The error of a float sum of `terms` random products: each addition rounds by up to 2^-24 of a
/// partial sum no larger than the result's usual size, in random directions, which makes
/// sqrt(terms) 2^-24; six deviations, because many sums are looked at. A fused activation adds a
/// few ulp of its own.
Tolerance sum_of(std::int64_t terms) {
  return {.relative = 6 * std::sqrt(static_cast<double>(terms)) * 0x1p-24 + 0x1p-21};
}

/// The same of factors rounded to tf32: by up to 2^-11 each, in random directions, so that a
/// product is off by less than 2^-11 (two errors of deviation 2^-11 / sqrt(3)) of its size, and so
/// is the sum of its own usual size; again six deviations.
Tolerance tf32_sum_of(std::int64_t terms) {
  Tolerance tolerance = sum_of(terms);
  tolerance.relative += 6 * 0x1p-11;
  return tolerance;
}

ConvForward forward(Arena& m, const ConvShape& s) {
  return {.shape = s,
          .type = m.type(),
          .x = m.input("x", count_x(s)),
          .weight = m.input("weight", count_weight(s)),
          .y = m.output("y", count_y(s))};
}

ConvInputGradient input_gradient(Arena& m, const ConvShape& s) {
  return {.shape = s,
          .type = m.type(),
          .dy = m.input("dy", count_y(s)),
          .weight = m.input("weight", count_weight(s)),
          .dx = m.output("dx", count_x(s))};
}

void for_each_gpu_target(const std::function<void(const Target&)>& visit) {
  for_each_target([&](const Target& target) {
    if (target.stream.kind != DeviceKind::cpu) visit(target);
  });
}

/// Those that take a tiling; tensor cores from compute capability 8.0 on.
std::vector<Rung> rungs_with_tiles(const Target& target) {
  const DeviceKind kind = target.stream.kind;
  if (kernels::gpu_runtime(kind).facts(target.stream.index).major < 8) return {Rung::pipelined};
  return {Rung::pipelined, Rung::tensor_core};
}

void compare_both(const Target& target, const ConvShape& s, Rung rung, const Tiling& tiling) {
  const bool is_tf32 = rung == Rung::tensor_core && target.type == DType::f32;
  const auto tolerance = is_tf32 ? tf32_sum_of : sum_of;
  CAPTURE(static_cast<int>(rung));
  CAPTURE(tiling.rows);
  CAPTURE(tiling.columns);
  CAPTURE(tiling.splits);
  CAPTURE(s.h);
  CAPTURE(s.c_in);
  CAPTURE(s.c_out);
  compare(
      target,
      [&](Arena& m) {
        return OnRung<ConvForward>{forward(m, s), rung, tiling};
      },
      tolerance(taps(s) * s.c_in));
  if (rung == Rung::few_outputs) return;
  compare(
      target,
      [&](Arena& m) {
        return OnRung<ConvInputGradient>{input_gradient(m, s), rung, tiling};
      },
      tolerance(taps(s) * s.c_out));
}

bool fits_few_outputs(const Target& target, const ConvShape& s) {
  return s.c_out <= 4 && s.c_in % static_cast<int>(16 / size_of(target.type)) == 0;
}

}  // namespace

TEST_CASE("every rung of the conv ladder agrees with the reference") {
  for_each_gpu_target([&](const Target& target) {
    for (const ConvShape& s : shapes()) {
      for (const Rung rung : {Rung::direct, Rung::tiled}) compare_both(target, s, rung, {});
      for (const Rung rung : rungs_with_tiles(target)) compare_both(target, s, rung, {64, 64});
      if (fits_few_outputs(target, s)) compare_both(target, s, Rung::few_outputs, {});
    }
  });
}

TEST_CASE("every tile of the conv ladder agrees with the reference, in one part and in three") {
  for_each_gpu_target([&](const Target& target) {
    for (const Rung rung : rungs_with_tiles(target)) {
      for (const ConvShape& s : tiled_shapes())
        for (const Tiling& tile : conv_ladder::tiles)
          for (const int splits : {1, 3})
            compare_both(target, s, rung, {tile.rows, tile.columns, splits});
      // Gathered one by one; more parts than there are tiles of sums.
      compare_both(target, square(1, 12, 11, 5, 35, 3, 2, 1), rung, {128, 32, 2});
      compare_both(target, square(1, 3, 3, 8, 8, 1, 1, 0), rung, {64, 64, 4});
    }
  });
}

TEST_CASE("the conv ladder refuses what it has no kernel for, and conv finds one") {
  const ConvShape wide{.h = 3, .w = 14, .c_in = 8, .c_out = 8, .kernel_w = 11, .pad_w = 4};
  const ConvShape usual = square(1, 3, 3, 8, 8, 3, 1, 1);
  for_each_gpu_target([&](const Target& target) {
    for (const Rung rung : rungs_with_tiles(target)) {
      const auto is_refused = [&](const ConvShape& s, const Tiling& tiling) {
        Arena m(target.stream, target.type, target.type);
        const OnRung<ConvForward> call{forward(m, s), rung, tiling};
        CHECK_THROWS_AS(launch(target.stream, call), Error);
      };
      is_refused(wide, {64, 64});
      is_refused(usual, {32, 32});
    }
    compare(
        target, [&](Arena& m) { return forward(m, wide); }, sum_of(taps(wide) * wide.c_in));
    compare(
        target, [&](Arena& m) { return input_gradient(m, wide); }, sum_of(taps(wide) * wide.c_out));
  });
}

TEST_CASE("conv rounds float32 to tf32 only where that is allowed") {
  const ConvShape s = square(1, 7, 5, 8, 16, 3, 1, 1);
  for_each_gpu_target([&](const Target& target) {
    for (const bool allowed : {false, true}) {
      const auto tolerance = allowed ? tf32_sum_of : sum_of;
      compare(
          target,
          [&](Arena& m) {
            ConvForward op = forward(m, s);
            op.allow_tf32 = allowed;
            return op;
          },
          tolerance(taps(s) * s.c_in));
      compare(
          target,
          [&](Arena& m) {
            ConvInputGradient op = input_gradient(m, s);
            op.allow_tf32 = allowed;
            return op;
          },
          tolerance(taps(s) * s.c_out));
    }
  });
}

TEST_CASE("conv does without tensor cores where there are none") {
  const ConvShape s = square(1, 7, 5, 8, 16, 3, 1, 1);
  for_each_simt_target(75, [&](const Target& target) {
    compare(
        target,
        [&](Arena& m) {
          ConvForward op = forward(m, s);
          op.allow_tf32 = true;
          return op;
        },
        sum_of(taps(s) * s.c_in));
    compare(
        target, [&](Arena& m) { return input_gradient(m, s); }, sum_of(taps(s) * s.c_out));
  });
}

TEST_CASE("every rung of the conv ladder adds bias and residual before the activation") {
  // Output channels in vectors and one by one, sums in one part and in two.
  for (const int c_out : {3, 8, 17})
    for_each_gpu_target([&](const Target& target) {
      const ConvShape s = square(1, 5, 7, 16, c_out, 3, 1, 1);
      const auto check = [&](Rung rung, int splits, Activation activation, bool in_place) {
        const bool is_tf32 = rung == Rung::tensor_core && target.type == DType::f32;
        CAPTURE(static_cast<int>(rung));
        CAPTURE(c_out);
        CAPTURE(static_cast<int>(activation));
        compare(
            target,
            [&](Arena& m) {
              ConvForward op{.shape = s,
                             .type = m.type(),
                             .x = m.input("x", count_x(s)),
                             .weight = m.input("weight", count_weight(s)),
                             .bias = m.param_input("bias", s.c_out),
                             .activation = activation,
                             .slope = 0.2F};
              if (!in_place) op.residual = m.input("residual", count_y(s), -2, 2);
              op.y = in_place ? m.in_out("y", count_y(s), -2, 2) : m.output("y", count_y(s));
              if (in_place) op.residual = op.y;
              return OnRung<ConvForward>{op, rung, {128, 16, splits}};
            },
            is_tf32 ? tf32_sum_of(9 * s.c_in) : sum_of(9 * s.c_in));
      };
      for (const Activation activation :
           {Activation::none, Activation::leaky_relu, Activation::silu, Activation::gelu})
        for (const bool in_place : {false, true}) {
          for (const Rung rung : {Rung::direct, Rung::tiled}) check(rung, 1, activation, in_place);
          if (fits_few_outputs(target, s)) check(Rung::few_outputs, 1, activation, in_place);
          for (const Rung rung : rungs_with_tiles(target))
            for (const int splits : {1, 2}) check(rung, splits, activation, in_place);
        }
    });
}

TEST_CASE("conv cuts the sums of small images into parts, and no others") {
  for_each_gpu_target([&](const Target& target) {
    const auto bytes_of = [&](const ConvShape& s) {
      const std::size_t bytes =
          workspace_bytes(target.stream, ConvForward{.shape = s, .type = target.type});
      CHECK(bytes ==
            workspace_bytes(target.stream, ConvInputGradient{.shape = s, .type = target.type}));
      return bytes;
    };
    const ConvShape small = square(1, 8, 8, 512, 512, 3, 1, 1);
    CHECK(bytes_of(small) >= 4 * count_y(small) * sizeof(float));
    CHECK(bytes_of(square(16, 128, 128, 64, 64, 3, 1, 1)) == 0);
    CHECK(bytes_of(square(1, 128, 128, 32, 32, 1, 1, 0)) == 0);
  });
}

}  // namespace anaphase::test
