// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv.hpp"

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"
#include "kernels/activation/activation.hpp"

namespace anaphase::engine {
namespace {

kernels::ConvShape shape_of(const Tensor& x, const Tensor& weight, const ConvOptions& options) {
  const int rank = static_cast<int>(x.shape().size());
  check(rank == 4 || rank == 5, "conv", "x has shape {}, expected [N, (D,) H, W, C]",
        to_string(x.shape()));
  check(static_cast<int>(weight.shape().size()) == rank, "conv",
        "weight has shape {}, x has shape {}: both need the same number of axes",
        to_string(weight.shape()), to_string(x.shape()));
  check(weight.dim(-1) == x.dim(-1), "conv",
        "weight has shape {}, x has shape {}: the last axes have to agree",
        to_string(weight.shape()), to_string(x.shape()));
  check(options.stride > 0 && options.padding >= 0, "conv",
        "stride is {} and padding {}, expected 1 or more and 0 or more", options.stride,
        options.padding);
  const auto extent = [](const Tensor& t, int axis) { return static_cast<int>(t.dim(axis)); };
  const bool is_3d = rank == 5;
  kernels::ConvShape shape{.n = extent(x, 0),
                           .d = is_3d ? extent(x, 1) : 1,
                           .h = extent(x, -3),
                           .w = extent(x, -2),
                           .c_in = extent(x, -1),
                           .c_out = extent(weight, 0),
                           .kernel_d = is_3d ? extent(weight, 1) : 1,
                           .kernel_h = extent(weight, -3),
                           .kernel_w = extent(weight, -2),
                           .stride_d = is_3d ? options.stride : 1,
                           .stride_h = options.stride,
                           .stride_w = options.stride,
                           .pad_d = is_3d ? options.padding : 0,
                           .pad_h = options.padding,
                           .pad_w = options.padding};
  check(shape.out_d() > 0 && shape.out_h() > 0 && shape.out_w() > 0, "conv",
        "x of shape {} is smaller than the kernel of weight {}", to_string(x.shape()),
        to_string(weight.shape()));
  return shape;
}

/// relu and leaky_relu can be differentiated from their result; the others need their argument.
bool differentiable_from_result(Activation activation) {
  return activation == Activation::relu || activation == Activation::leaky_relu;
}

}  // namespace

Tensor conv(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias,
            const ConvOptions& options) {
  const kernels::ConvShape shape = shape_of(x, weight, options);
  const bool gradient =
      tape.differentiates() && (x.needs_gradient() || weight.needs_gradient() ||
                                bias.needs_gradient() || options.residual.needs_gradient());
  if (gradient && options.activation != Activation::none &&
      !differentiable_from_result(options.activation)) {
    ConvOptions plain = options;
    plain.activation = Activation::none;
    return activate(tape, conv(tape, x, weight, bias, plain), options.activation, options.slope);
  }

  Shape y_shape{x.dim(0), shape.out_h(), shape.out_w(), shape.c_out};
  if (x.shape().size() == 5) y_shape.insert(y_shape.begin() + 1, shape.out_d());
  if (bias) check_shape(bias, {shape.c_out}, "conv", "bias");
  const DType type = x.type();
  const bool allow_tf32 = tape.device().allows_tf32();
  if (options.residual) check_tensor(options.residual, y_shape, type, "conv", "residual");

  const Tensor w = tape.converted(weight, type);
  const Tensor y = tape.allocate(y_shape, type);
  const auto forward = [=](const Tensor& packed_weight) {
    return kernels::ConvForward{.shape = shape,
                                .type = type,
                                .allow_tf32 = allow_tf32,
                                .x = x.data(),
                                .weight = w.data(),
                                .packed = packed_weight.data(),
                                .bias = bias.data(),
                                .residual = options.residual.data(),
                                .activation = options.activation,
                                .slope = options.slope,
                                .y = y.data()};
  };
  const Tensor packed = tape.packed(w, [=] { return forward({}); });
  tape.launch("conv_forward", {x, packed ? packed : w, bias, options.residual}, {y},
              [=] { return forward(packed); });
  const auto backward = [=, &tape](const Tensor& dy_activated) -> std::vector<Tensor> {
    Tensor dy = dy_activated;
    if (options.activation != Activation::none) {
      dy = tape.allocate_like(y);
      tape.launch("activation_backward", {y, dy_activated}, {dy}, [=] {
        return kernels::ActivationBackward{y.count(),     type,     options.activation,
                                           options.slope, y.data(), dy_activated.data(),
                                           dy.data()};
      });
    }
    Tensor dx, dweight, dbias;
    if (weight.needs_gradient() || bias.needs_gradient()) {
      dweight = tape.allocate(weight.shape(), kernels::param_type(type));
      if (bias) dbias = tape.allocate(bias.shape(), kernels::param_type(type));
      tape.launch("conv_weight_gradient", {x, dy}, {dweight, dbias}, [=] {
        return kernels::ConvWeightGradient{.shape = shape,
                                           .type = type,
                                           .allow_tf32 = allow_tf32,
                                           .x = x.data(),
                                           .dy = dy.data(),
                                           .dweight = dweight.data(),
                                           .dbias = dbias.data()};
      });
    }
    if (x.needs_gradient()) {
      dx = tape.allocate_like(x);
      tape.launch("conv_input_gradient", {dy, w}, {dx}, [=] {
        return kernels::ConvInputGradient{.shape = shape,
                                          .type = type,
                                          .allow_tf32 = allow_tf32,
                                          .dy = dy.data(),
                                          .weight = w.data(),
                                          .dx = dx.data()};
      });
    }
    return {dx, dweight, dbias, dy};
  };
  tape.record({x, weight, bias, options.residual}, y, backward);
  return y;
}

}  // namespace anaphase::engine
