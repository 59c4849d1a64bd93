// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/linear.hpp"

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"

namespace anaphase::engine {

Tensor linear(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Tensor& residual) {
  check(weight.shape().size() == 2 && weight.dim(1) == x.dim(-1), "linear",
        "weight has shape {}, x has shape {}: the last axes have to agree",
        to_string(weight.shape()), to_string(x.shape()));
  const int in = static_cast<int>(weight.dim(1)), out = static_cast<int>(weight.dim(0));
  const std::int64_t rows = x.count() / in;
  const Shape y_shape = with_channels(x, out);
  if (bias) check_shape(bias, {out}, "linear", "bias");
  const DType type = x.type();
  const bool allow_tf32 = tape.device().allows_tf32();
  if (residual) check_tensor(residual, y_shape, type, "linear", "residual");

  const Tensor w = tape.converted(weight, type);
  const Tensor y = tape.allocate(y_shape, type);
  const auto forward = [=](const Tensor& packed_weight) {
    return kernels::LinearForward{.rows = rows,
                                  .in = in,
                                  .out = out,
                                  .type = type,
                                  .allow_tf32 = allow_tf32,
                                  .x = x.data(),
                                  .weight = w.data(),
                                  .packed = packed_weight.data(),
                                  .bias = bias.data(),
                                  .residual = residual.data(),
                                  .y = y.data()};
  };
  const Tensor packed = tape.packed(w, [=] { return forward({}); });
  tape.launch("linear_forward", {x, packed ? packed : w, bias, residual}, {y},
              [=] { return forward(packed); });
  tape.record({x, weight, bias, residual}, y, [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    Tensor dx, dweight, dbias;
    if (weight.needs_gradient() || bias.needs_gradient()) {
      dweight = tape.allocate(weight.shape(), kernels::param_type(type));
      if (bias) dbias = tape.allocate(bias.shape(), kernels::param_type(type));
      tape.launch("linear_weight_gradient", {x, dy}, {dweight, dbias}, [=] {
        return kernels::LinearWeightGradient{.rows = rows,
                                             .in = in,
                                             .out = out,
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
      tape.launch("linear_input_gradient", {dy, w}, {dx}, [=] {
        return kernels::LinearInputGradient{.rows = rows,
                                            .in = in,
                                            .out = out,
                                            .type = type,
                                            .allow_tf32 = allow_tf32,
                                            .dy = dy.data(),
                                            .weight = w.data(),
                                            .dx = dx.data()};
      });
    }
    return {dx, dweight, dbias, dy};
  });
  return y;
}

}  // namespace anaphase::engine
