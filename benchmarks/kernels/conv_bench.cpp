// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv.hpp"

#include <fmt/format.h>

#include "benchmarks/kernels/bench.hpp"

namespace anaphase::bench {
namespace {

using namespace kernels;

/// The tensors of one convolution.
struct Tensors {
  Buffer x, weight, y, dweight, bias;

  Tensors(const ConvShape& s, DType type)
      : x(type, std::int64_t{1} * s.n * s.h * s.w * s.c_in),
        weight(type, std::int64_t{1} * s.c_out * s.kernel_h * s.kernel_w * s.c_in),
        y(type, std::int64_t{1} * s.n * s.out_h() * s.out_w() * s.c_out),
        dweight(DType::f32, std::int64_t{1} * s.c_out * s.kernel_h * s.kernel_w * s.c_in),
        bias(DType::f32, s.c_out) {}
};

void add_shape(const ConvShape& shape, DType type) {
  const auto name = [&](const char* direction) {
    return fmt::format("conv{}x{}_{}/{}/{}x{}/n{}/{}px", shape.kernel_h, shape.kernel_w, direction,
                       name_of(type), shape.c_in, shape.c_out, shape.n, shape.h);
  };
  const auto forward = [=](const Tensors& t) {
    return ConvForward{.shape = shape,
                       .type = type,
                       .x = t.x.get(),
                       .weight = t.weight.get(),
                       .bias = t.bias.get(),
                       .y = t.y.get()};
  };
  add(name("forward"), [=](benchmark::State& state) {
    const Tensors t(shape, type);
    measure(state, forward(t), 0, flop_count(shape));
  });
  add(name("forward_packed"), [=](benchmark::State& state) {  // as in inference
    const Tensors t(shape, type);
    ConvForward op = forward(t);
    const std::size_t bytes = packed_bytes(Stream{}, op);
    if (bytes == 0) return state.SkipWithError("the processor packs no such weights");
    const Buffer packed(DType::f32, static_cast<std::int64_t>(bytes / sizeof(float)) + 1);
    launch(Stream{}, Pack<ConvForward>{op, packed.get()});
    op.packed = packed.get();
    measure(state, op, 0, flop_count(shape));
  });
  add(name("input_gradient"), [=](benchmark::State& state) {
    const Tensors t(shape, type);
    measure(state,
            ConvInputGradient{.shape = shape,
                              .type = type,
                              .dy = t.y.get(),
                              .weight = t.weight.get(),
                              .dx = t.x.get()},
            0, flop_count(shape));
  });
  add(name("weight_gradient"), [=](benchmark::State& state) {
    const Tensors t(shape, type);
    measure(state,
            ConvWeightGradient{.shape = shape,
                               .type = type,
                               .x = t.x.get(),
                               .dy = t.y.get(),
                               .dweight = t.dweight.get(),
                               .dbias = t.bias.get()},
            0, flop_count(shape));
  });
}

}  // namespace

void add_conv() {
  for (const DType type : types()) {
    // Levels of the U-Net for a batch of four images of 128 px: width 16 to 128, then 32 to 256.
    for (const int width : {16, 32})
      for (int level = 0; level < 4; ++level)
        add_shape({.n = 4,
                   .h = 128 >> level,
                   .w = 128 >> level,
                   .c_in = width << level,
                   .c_out = width << level,
                   .kernel_h = 3,
                   .kernel_w = 3,
                   .pad_h = 1,
                   .pad_w = 1},
                  type);
    add_shape({.n = 4, .h = 128, .w = 128, .c_in = 32, .c_out = 16}, type);  // a shortcut
  }
}

}  // namespace anaphase::bench
