// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/common/onednn.hpp"
#include "kernels/conv/direct_cpu.hpp"
#include "kernels/linear/linear.hpp"

// oneDNN's inner product on the weights as they lie in memory: for the few rows of a time embedding
// packing them would cost more than the product, for many rows it gains nothing.

namespace anaphase::kernels {
namespace {

using dnnl::inner_product_backward_data;
using dnnl::inner_product_backward_weights;
using dnnl::inner_product_forward;
using onednn::Desc;
using onednn::Key;
using onednn::Operation;
using onednn::Plan;
using onednn::Tag;

struct Tensors {
  Desc x, weight, weight_gradient, bias, y;

  Tensors(std::int64_t rows, int in, int out, DType type) {
    const auto element = onednn::data_type(type);
    const auto param = onednn::data_type(param_type(type));
    x = Desc({rows, in}, element, Tag::ab);
    weight = Desc({out, in}, element, Tag::ab);
    weight_gradient = Desc({out, in}, param, Tag::ab);
    bias = Desc({out}, param, Tag::a);
    y = Desc({rows, out}, element, Tag::ab);
  }

  inner_product_forward::primitive_desc forward(const Desc& wanted_bias,
                                                const dnnl::primitive_attr& attr) const {
    return onednn::describe<inner_product_forward>(attr, dnnl::prop_kind::forward_training, x,
                                                   weight, wanted_bias, y);
  }
};

template <class Op>
Key key_of(Operation operation, const Op& op) {
  return Key(operation, op.type, {op.rows, op.in, op.out});
}

}  // namespace

static Key key_of(const LinearForward& op) {
  return key_of(Operation::linear_forward, op).fused(op.bias, op.residual, op.activation, op.slope);
}

static Key key_of(const LinearInputGradient& op) {
  return key_of(Operation::linear_input_gradient, op);
}

static Key key_of(const LinearWeightGradient& op) {
  return key_of(Operation::linear_weight_gradient, op).fused(op.dbias, false, Activation::none, 0);
}

/// Buffers: workspace, x, weight, bias, y.
static Plan make_plan(const LinearForward& op) {
  const Tensors t(op.rows, op.in, op.out, op.type);
  const Desc bias = op.bias ? t.bias : Desc();
  Plan plan;
  plan.add(t.forward(bias, onednn::attributes(op.residual != nullptr, op.activation, op.slope)),
           {{DNNL_ARG_SRC, t.x, {1}},
            {DNNL_ARG_WEIGHTS, t.weight, {2}},
            {DNNL_ARG_BIAS, bias, {3}},
            {DNNL_ARG_DST, t.y, {4}}});
  return plan;
}

/// Buffers: workspace, dy, weight, dx.
static Plan make_plan(const LinearInputGradient& op) {
  const Tensors t(op.rows, op.in, op.out, op.type);
  Plan plan;
  plan.add(onednn::describe_backward<inner_product_backward_data>(
               t.forward({}, onednn::attributes()), t.x, t.weight, t.y),
           {{DNNL_ARG_DIFF_DST, t.y, {1}},
            {DNNL_ARG_WEIGHTS, t.weight, {2}},
            {DNNL_ARG_DIFF_SRC, t.x, {3}}});
  return plan;
}

/// Buffers: workspace, x, dy, dweight, dbias.
static Plan make_plan(const LinearWeightGradient& op) {
  const Tensors t(op.rows, op.in, op.out, op.type);
  const Desc dbias = op.dbias ? t.bias : Desc();
  Plan plan;
  plan.add(onednn::describe_backward<inner_product_backward_weights>(
               t.forward({}, onednn::attributes()), t.x, t.weight_gradient, dbias, t.y),
           {{DNNL_ARG_SRC, t.x, {1}},
            {DNNL_ARG_DIFF_DST, t.y, {2}},
            {DNNL_ARG_DIFF_WEIGHTS, t.weight_gradient, {3}},
            {DNNL_ARG_DIFF_BIAS, dbias, {4}}});
  return plan;
}

/// oneDNN multiplies a matrix and a single vector in another order of sums than two matrices. A
/// sample's result must not depend on its batch, so one row is computed as two equal ones, which
/// lie behind the workspace.
static LinearForward as_two_rows(const LinearForward& op) {
  LinearForward two = op;
  two.rows = 2;
  auto* behind = static_cast<std::byte*>(op.workspace) + onednn::most_workspace_bytes(two);
  two.x = behind;
  two.y = behind + 2 * op.in * size_of(op.type);
  return two;
}

/// The rows as the pixels of an image, for packed weights.
static ConvForward as_conv(const LinearForward& op) {
  return {.shape = {.w = static_cast<int>(op.rows), .c_in = op.in, .c_out = op.out},
          .type = op.type,
          .x = op.x,
          .weight = op.weight,
          .packed = op.packed,
          .bias = op.bias,
          .residual = op.residual,
          .activation = op.activation,
          .slope = op.slope,
          .y = op.y,
          .workspace = op.workspace};
}

std::size_t packed_bytes(Cpu, const LinearForward& op) {
  const ConvForward conv = as_conv(op);
  return direct::fits(conv) ? direct::packed_bytes(conv) : 0;
}

void run(Cpu, const Pack<LinearForward>& pack) {
  direct::pack(as_conv(pack.op), pack.packed);
}

void run(Cpu, const LinearForward& op) {
  if (op.packed) return direct::run(as_conv(op));
  const std::size_t x_bytes = op.in * size_of(op.type), y_bytes = op.out * size_of(op.type);
  if (op.rows > 1) {
    if (op.residual) onednn::copy(op.y, op.residual, op.rows * y_bytes);
    onednn::run_on(op, {op.workspace, op.x, op.weight, op.bias, op.y});
    return;
  }
  const LinearForward two = as_two_rows(op);
  for (int row = 0; row < 2; ++row) {
    std::memcpy(const_cast<std::byte*>(static_cast<const std::byte*>(two.x)) + row * x_bytes, op.x,
                x_bytes);
    if (op.residual)
      std::memcpy(static_cast<std::byte*>(two.y) + row * y_bytes, op.residual, y_bytes);
  }
  onednn::run_on(two, {two.workspace, two.x, two.weight, two.bias, two.y});
  std::memcpy(op.y, two.y, y_bytes);
}

void run(Cpu, const LinearInputGradient& op) {
  onednn::run_on(op, {op.workspace, op.dy, op.weight, op.dx});
}

void run(Cpu, const LinearWeightGradient& op) {
  onednn::run_on(op, {op.workspace, op.x, op.dy, op.dweight, op.dbias});
}

std::size_t workspace_bytes(Cpu, const LinearForward& op) {
  if (op.packed) return direct::workspace_bytes(as_conv(op));
  if (op.rows > 1) return onednn::most_workspace_bytes(op);
  LinearForward two = op;
  two.rows = 2;
  return onednn::most_workspace_bytes(two) + 2 * (op.in + op.out) * size_of(op.type);
}

std::size_t workspace_bytes(Cpu, const LinearInputGradient& op) {
  return onednn::most_workspace_bytes(op);
}

std::size_t workspace_bytes(Cpu, const LinearWeightGradient& op) {
  return onednn::most_workspace_bytes(op);
}

std::string implementation(Cpu, const LinearForward& op) {
  if (op.packed) return direct::name;
  return onednn::plan_of(op).implementation();
}

std::string implementation(Cpu, const LinearInputGradient& op) {
  return onednn::plan_of(op).implementation();
}

std::string implementation(Cpu, const LinearWeightGradient& op) {
  return onednn::plan_of(op).implementation();
}

}  // namespace anaphase::kernels
