// SPDX-License-Identifier: Apache-2.0
// NVIDIA's libraries under the contracts of our operations: what benchmarks compare with has to
// compute the same.
#include <doctest/doctest.h>

#include <cmath>
#include <concepts>

#include "kernels/attention/attention_cudnn.hpp"
#include "kernels/common/gpu_runtime.hpp"
#include "kernels/common/memory.hpp"
#include "kernels/conv/conv_cudnn.hpp"
#include "kernels/linear/linear_cublas.hpp"
#include "kernels/optimizer/gradient_norm_cub.hpp"
#include "kernels/reduce/sum_cub.hpp"
#include "tests/kernels/contract.hpp"
#include "tests/kernels/conv_sizes.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

/// An operation by a library on a CUDA device, as ever on the others.
template <class Operation, auto Run, auto WorkspaceBytes>
struct ByYardstick {
  Operation op;
  void* workspace = nullptr;
};

template <class Device, class Operation, auto Run, auto WorkspaceBytes>
void run(Device device, const ByYardstick<Operation, Run, WorkspaceBytes>& by) {
  Operation op = by.op;
  op.workspace = by.workspace;
  if constexpr (std::same_as<Device, Cuda>)
    Run(device, op);
  else
    run(device, op);
}

template <class Device, class Operation, auto Run, auto WorkspaceBytes>
std::size_t workspace_bytes(Device device, const ByYardstick<Operation, Run, WorkspaceBytes>& by) {
  if constexpr (std::same_as<Device, Cuda>)
    return WorkspaceBytes(device, by.op);
  else
    return workspace_bytes(device, by.op);
}

void for_each_cuda_target(const std::function<void(const Target&)>& visit) {
  if (device_count({DeviceKind::cuda}) == 0)
    MESSAGE("no CUDA device: the libraries are not compared with the reference");
  for_each_target([&](const Target& target) {
    if (target.stream.kind == DeviceKind::cuda) visit(target);
  });
}

Cuda device_of(const Target& target) {
  return {target.stream.index, target.stream.handle};
}

/// The error of a float sum of `terms` random products: sqrt(terms) 2^-24 of its usual size, times
/// six, since many are looked at, and a few ulp for an activation.
[[maybe_unused]] Tolerance sum_of(std::int64_t terms) {
  return {.relative = 6 * std::sqrt(static_cast<double>(terms)) * 0x1p-24 + 0x1p-21};
}

}  // namespace

#if defined(ANAPHASE_WITH_CUDNN)
namespace {

template <class Operation>
using ByCudnn =
    ByYardstick<Operation, [](Cuda gpu, const Operation& op) { conv_cudnn(gpu, op); },
                [](Cuda gpu, const Operation& op) { return conv_cudnn_workspace_bytes(gpu, op); }>;

/// Winograd's transform, which cuDNN may choose for float32, has larger terms than the sums that it
/// stands for: up to four bits more are lost.
Tolerance transformed_sum_of(std::int64_t terms) {
  Tolerance tolerance = sum_of(terms);
  tolerance.relative *= 16;
  return tolerance;
}

/// Channels in eights, which cuDNN wants of bf16; strides, three dimensions.
const ConvShape conv_shapes[] = {
    {.n = 2,
     .h = 9,
     .w = 12,
     .c_in = 16,
     .c_out = 40,
     .kernel_h = 3,
     .kernel_w = 3,
     .pad_h = 1,
     .pad_w = 1},
    {.n = 2,
     .h = 16,
     .w = 8,
     .c_in = 64,
     .c_out = 64,
     .kernel_h = 3,
     .kernel_w = 3,
     .stride_h = 2,
     .stride_w = 2,
     .pad_h = 1,
     .pad_w = 1},
    {.n = 1, .h = 7, .w = 5, .c_in = 32, .c_out = 8},
    {.n = 1,
     .d = 4,
     .h = 8,
     .w = 6,
     .c_in = 16,
     .c_out = 32,
     .kernel_d = 3,
     .kernel_h = 3,
     .kernel_w = 3,
     .pad_d = 1,
     .pad_h = 1,
     .pad_w = 1},
};

}  // namespace

TEST_CASE("convolution by cuDNN agrees with the reference") {
  for_each_cuda_target([](const Target& target) {
    for (const ConvShape& s : conv_shapes) {
      CAPTURE(s.c_in);
      CAPTURE(s.d);
      compare(
          target,
          [&](Arena& m) {
            return ByCudnn<ConvForward>{{.shape = s,
                                         .type = m.type(),
                                         .x = m.input("x", count_x(s)),
                                         .weight = m.input("weight", count_weight(s)),
                                         .y = m.output("y", count_y(s))}};
          },
          transformed_sum_of(taps(s) * s.c_in));
      compare(
          target,
          [&](Arena& m) {
            return ByCudnn<ConvInputGradient>{{.shape = s,
                                               .type = m.type(),
                                               .dy = m.input("dy", count_y(s)),
                                               .weight = m.input("weight", count_weight(s)),
                                               .dx = m.output("dx", count_x(s))}};
          },
          transformed_sum_of(taps(s) * s.c_out));
      Tolerance in_float = transformed_sum_of(count_y(s) / s.c_out);
      in_float.bf16_relative = 0;
      compare(
          target,
          [&](Arena& m) {
            return ByCudnn<ConvWeightGradient>{
                {.shape = s,
                 .type = m.type(),
                 .x = m.input("x", count_x(s)),
                 .dy = m.input("dy", count_y(s)),
                 .dweight = m.param_output("dweight", count_weight(s))}};
          },
          in_float);
    }
  });
}

TEST_CASE("cuDNN adds bias and residual before the activation") {
  const ConvShape s = conv_shapes[1];
  for_each_cuda_target([&](const Target& target) {
    for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu,
                                        Activation::silu, Activation::gelu})
      for (const bool with_bias : {false, true})
        for (const bool with_residual : {false, true}) {
          CAPTURE(static_cast<int>(activation));
          CAPTURE(with_bias);
          CAPTURE(with_residual);
          compare(
              target,
              [&](Arena& m) {
                ByCudnn<ConvForward> by{{.shape = s,
                                         .type = m.type(),
                                         .x = m.input("x", count_x(s)),
                                         .weight = m.input("weight", count_weight(s)),
                                         .activation = activation,
                                         .slope = 0.2F,
                                         .y = m.output("y", count_y(s))}};
                if (with_bias) by.op.bias = m.param_input("bias", s.c_out);
                if (with_residual) by.op.residual = m.input("residual", count_y(s), -2, 2);
                return by;
              },
              transformed_sum_of(taps(s) * s.c_in));
        }
  });
}

TEST_CASE("attention by cuDNN agrees with the reference") {
  using ByCudnnAttention =
      ByYardstick<AttentionForward,
                  [](Cuda gpu, const AttentionForward& op) { attention_cudnn(gpu, op); },
                  [](Cuda gpu, const AttentionForward& op) {
                    return attention_cudnn_workspace_bytes(gpu, op);
                  }>;
  const AttentionShape shapes[] = {{.n = 2, .tokens = 33, .heads = 2, .head_dim = 8},
                                   {.n = 1, .tokens = 127, .heads = 3, .head_dim = 24},
                                   {.n = 2, .tokens = 256, .heads = 4, .head_dim = 64},
                                   {.n = 1, .tokens = 65, .heads = 1, .head_dim = 128}};
  for_each_cuda_target([&](const Target& target) {
    const GpuFacts facts = gpu_runtime(DeviceKind::cuda).facts(target.stream.index);
    if (target.type == DType::f32 || facts.major < 8) {
      const AttentionForward sizes{.shape = shapes[0], .type = DType::f32};
      CHECK_THROWS_AS(attention_cudnn(device_of(target), sizes), Error);
      return;
    }
    for (const AttentionShape& s : shapes) {
      CAPTURE(s.tokens);
      const std::int64_t rows = std::int64_t{s.n} * s.heads * s.tokens;
      // As for our own on tensor cores: probabilities are rounded to bf16.
      compare(target,
              [&](Arena& m) {
                return ByCudnnAttention{{.shape = s,
                                         .type = m.type(),
                                         .qkv = m.input("qkv", 3 * rows * s.head_dim),
                                         .y = m.output("y", rows * s.head_dim),
                                         .log_sum_exp = m.param_output("log_sum_exp", rows)}};
              },
              {.relative = 6 * std::sqrt(s.head_dim + s.tokens) * 0x1p-24 + 0x1p-20,
               .bf16_relative = 0x1p-8 + 6 / std::sqrt(3.0) * 0x1p-9});
    }
  });
}
#endif

#if defined(ANAPHASE_WITH_CUBLAS)
namespace {

template <class Operation>
using ByCublas =
    ByYardstick<Operation, [](Cuda gpu, const Operation& op) { linear_cublas(gpu, op); },
                [](Cuda gpu, const Operation& op) {
                  return linear_cublas_workspace_bytes(gpu, op);
                }>;

struct Size {
  int rows, in, out;
};
const Size sizes[] = {{1, 64, 256}, {33, 24, 40}, {127, 32, 104}, {1024, 64, 192}};

}  // namespace

TEST_CASE("matrix products by cuBLAS agree with the reference") {
  for_each_cuda_target([](const Target& target) {
    for (const Size& s : sizes) {
      CAPTURE(s.rows);
      for (const bool with_residual : {false, true})
        for (const Activation activation : {Activation::none, Activation::relu})
          compare(
              target,
              [&](Arena& m) {
                ByCublas<LinearForward> by{{.rows = s.rows,
                                            .in = s.in,
                                            .out = s.out,
                                            .type = m.type(),
                                            .x = m.input("x", s.rows * s.in),
                                            .weight = m.input("weight", s.out * s.in),
                                            .activation = activation,
                                            .y = m.output("y", s.rows * s.out)}};
                if (target.type == DType::f32) by.op.bias = m.param_input("bias", s.out);
                if (with_residual) by.op.residual = m.input("residual", s.rows * s.out, -2, 2);
                return by;
              },
              sum_of(s.in));
      compare(
          target,
          [&](Arena& m) {
            return ByCublas<LinearInputGradient>{{.rows = s.rows,
                                                  .in = s.in,
                                                  .out = s.out,
                                                  .type = m.type(),
                                                  .dy = m.input("dy", s.rows * s.out),
                                                  .weight = m.input("weight", s.out * s.in),
                                                  .dx = m.output("dx", s.rows * s.in)}};
          },
          sum_of(s.out));
      Tolerance in_float = sum_of(s.rows);
      in_float.bf16_relative = 0;
      compare(
          target,
          [&](Arena& m) {
            return ByCublas<LinearWeightGradient>{
                {.rows = s.rows,
                 .in = s.in,
                 .out = s.out,
                 .type = m.type(),
                 .x = m.input("x", s.rows * s.in),
                 .dy = m.input("dy", s.rows * s.out),
                 .dweight = m.param_output("dweight", s.out * s.in)}};
          },
          in_float);
    }
  });
}

TEST_CASE("cuBLAS refuses what it cannot fuse") {
  for_each_cuda_target([](const Target& target) {
    const LinearForward op{
        .rows = 8, .in = 8, .out = 8, .type = target.type, .activation = Activation::silu};
    CHECK_FALSE(linear_cublas_takes(device_of(target), op));
    CHECK_THROWS_AS(linear_cublas(device_of(target), op), Error);
  });
}
#endif

#if defined(ANAPHASE_WITH_CUB)
TEST_CASE("reductions by CUB agree with the reference") {
  using SumByCub =
      ByYardstick<Sum, [](Cuda gpu, const Sum& op) { sum_cub(gpu, op); },
                  [](Cuda gpu, const Sum& op) { return sum_cub_workspace_bytes(gpu, op); }>;
  using NormByCub = ByYardstick<
      GradientNorm, [](Cuda gpu, const GradientNorm& op) { gradient_norm_cub(gpu, op); },
      [](Cuda gpu, const GradientNorm& op) { return gradient_norm_cub_workspace_bytes(gpu, op); }>;
  for_each_cuda_target([](const Target& target) {
    for (const std::int64_t count : {1, 33, 8193, 100001}) {
      // Summed in double, rounded to float once or, for the quotient with the norm, twice.
      compare(target,
              [&](Arena& m) {
                return SumByCub{{.count = count,
                                 .type = m.type(),
                                 .scale = -0.7,
                                 .x = m.input("x", count, 0, 1),
                                 .y = m.param_output("y", 1)}};
              },
              {.relative = 0x1p-24, .bf16_relative = 0});
      if (target.type == DType::f32)
        compare(target,
                [&](Arena& m) {
                  return NormByCub{{.count = count,
                                    .limit = 0.5F,
                                    .gradient = m.input("gradient", count),
                                    .norm = m.param_output("norm", 1),
                                    .scale = m.param_output("scale", 1)}};
                },
                {.relative = 2 * 0x1p-24});
    }
  });
}
#endif

}  // namespace anaphase::test
