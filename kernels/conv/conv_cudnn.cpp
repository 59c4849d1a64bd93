// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_cudnn.hpp"

#include <bit>
#include <utility>

#include "kernels/common/cudnn.hpp"

// Convolution by cuDNN, for comparison with conv.cu. Written without a GPU at hand: compiled, not
// yet run.

namespace anaphase::kernels {
namespace {

using cudnn::Descriptor;
using cudnn::Graph;
using cudnn::Layout;
using cudnn::Plan;

enum class Part : std::int64_t { forward, input_gradient, weight_gradient };

bool is_flat(const ConvShape& s) {
  return s.d == 1 && s.kernel_d == 1 && s.pad_d == 0;
}

/// One value for each axis that cuDNN is to know of.
std::vector<std::int64_t> axes(const ConvShape& s, int d, int h, int w) {
  if (is_flat(s)) return {h, w};
  return {d, h, w};
}

/// [n, c, (d,) h, w] as cuDNN counts sizes, in memory with channels last.
Layout channels_last(DType type, std::int64_t n, std::int64_t c,
                     const std::vector<std::int64_t>& extents) {
  Layout layout{cudnn::data_type(type), {n, c}, {}};
  layout.sizes.insert(layout.sizes.end(), extents.begin(), extents.end());
  layout.strides.resize(layout.sizes.size());
  layout.strides[1] = 1;
  std::int64_t stride = c;
  for (std::size_t axis = layout.sizes.size() - 1; axis > 1; --axis) {
    layout.strides[axis] = stride;
    stride *= layout.sizes[axis];
  }
  layout.strides[0] = stride;
  return layout;
}

Layout input(const ConvShape& s, DType type) {
  return channels_last(type, s.n, s.c_in, axes(s, s.d, s.h, s.w));
}
Layout output(const ConvShape& s, DType type) {
  return channels_last(type, s.n, s.c_out, axes(s, s.out_d(), s.out_h(), s.out_w()));
}
Layout weights(const ConvShape& s, DType type) {
  return channels_last(type, s.c_out, s.c_in, axes(s, s.kernel_d, s.kernel_h, s.kernel_w));
}
Layout per_output_channel(const ConvShape& s) {
  return channels_last(DType::f32, 1, s.c_out, axes(s, 1, 1, 1));
}

const Descriptor& convolution(Graph& graph, const ConvShape& s) {
  const std::vector<std::int64_t> padding = axes(s, s.pad_d, s.pad_h, s.pad_w);
  Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, static_cast<std::int64_t>(padding.size()))
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding)
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, padding)
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, axes(s, 1, 1, 1))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, axes(s, s.stride_d, s.stride_h, s.stride_w));
  return graph.keep(std::move(convolution));
}

Descriptor elementwise(cudnnPointwiseMode_t mode) {
  Descriptor function(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  function.set(CUDNN_ATTR_POINTWISE_MODE, mode)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  return function;
}

Descriptor activation_of(const ConvForward& op) {
  switch (op.activation) {
    case Activation::none:
      return elementwise(CUDNN_POINTWISE_IDENTITY);
    case Activation::relu:
      return elementwise(CUDNN_POINTWISE_RELU_FWD);
    case Activation::leaky_relu: {
      Descriptor function = elementwise(CUDNN_POINTWISE_RELU_FWD);
      function.set(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, static_cast<double>(op.slope));
      return function;
    }
    case Activation::silu:
      return elementwise(CUDNN_POINTWISE_SWISH_FWD);
    case Activation::gelu:
      return elementwise(CUDNN_POINTWISE_GELU_FWD);
  }
  throw Error("cuDNN does not know this activation: run the convolution without it");
}

/// to = function(from, operand)
void apply(Graph& graph, Descriptor function, const Descriptor& from, const Descriptor* operand,
           const Descriptor& to) {
  Descriptor step(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  step.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, graph.keep(std::move(function)))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
  if (operand) step.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *operand);
  graph.add(std::move(step));
}

/// Arguments: x, weight, bias and residual if there are any, y.
Graph graph_of(const ConvForward& op) {
  const ConvShape& s = op.shape;
  const Layout result = output(s, op.type), in_float = output(s, DType::f32);
  // Next to bf16, cuDNN takes a bias in float only where something follows it.
  const bool activates =
      op.activation != Activation::none || (op.bias && !op.residual && op.type == DType::bf16);
  int steps_left = (op.bias != nullptr) + (op.residual != nullptr) + activates;
  Graph graph;
  const Descriptor& x = graph.argument(input(s, op.type));
  const Descriptor& weight = graph.argument(weights(s, op.type));
  const Descriptor* bias = op.bias ? &graph.argument(per_output_channel(s)) : nullptr;
  const Descriptor* residual = op.residual ? &graph.argument(result) : nullptr;
  const Descriptor& y = graph.argument(result);

  const Descriptor* last = steps_left ? &graph.intermediate(in_float) : &y;
  Descriptor product(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  product.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution(graph, s))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, *last)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0F);
  graph.add(std::move(product));

  const auto follow = [&](Descriptor function, const Descriptor* operand) {
    const Descriptor& next = --steps_left ? graph.intermediate(in_float) : y;
    apply(graph, std::move(function), *last, operand, next);
    last = &next;
  };
  if (bias) follow(elementwise(CUDNN_POINTWISE_ADD), bias);
  if (residual) follow(elementwise(CUDNN_POINTWISE_ADD), residual);
  if (activates) follow(activation_of(op), nullptr);
  return graph;
}

/// Arguments: dy, weight, dx.
Graph graph_of(const ConvInputGradient& op) {
  const ConvShape& s = op.shape;
  Graph graph;
  Descriptor product(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
  product.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, graph.argument(output(s, op.type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, graph.argument(weights(s, op.type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, graph.argument(input(s, op.type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, convolution(graph, s))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, 0.0F);
  graph.add(std::move(product));
  return graph;
}

/// Arguments: x, dy, dweight.
Graph graph_of(const ConvWeightGradient& op) {
  const ConvShape& s = op.shape;
  const Layout result = weights(s, DType::f32);
  Graph graph;
  Descriptor product(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
  product.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, graph.argument(input(s, op.type)))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, graph.argument(output(s, op.type)));
  const Descriptor& dweight = graph.argument(result);
  // From bf16 to float goes no convolution, but one that something follows.
  const bool changes_type = op.type == DType::bf16;
  const Descriptor& sums = changes_type ? graph.intermediate(result) : dweight;
  product.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, sums)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, convolution(graph, s))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, 0.0F);
  graph.add(std::move(product));
  if (changes_type) apply(graph, elementwise(CUDNN_POINTWISE_IDENTITY), sums, nullptr, dweight);
  return graph;
}

template <class Operation>
std::vector<std::int64_t> key_of(Part part, const Operation& op) {
  const ConvShape& s = op.shape;
  return {static_cast<std::int64_t>(part),
          static_cast<std::int64_t>(op.type),
          op.allow_tf32,
          s.n,
          s.d,
          s.h,
          s.w,
          s.c_in,
          s.c_out,
          s.kernel_d,
          s.kernel_h,
          s.kernel_w,
          s.stride_d,
          s.stride_h,
          s.stride_w,
          s.pad_d,
          s.pad_h,
          s.pad_w};
}

template <class Operation>
std::unique_ptr<Plan> make_plan(Cuda gpu, const Operation& op) {
  return Plan::make(gpu, graph_of(op), op.type == DType::bf16 || op.allow_tf32);
}

const Plan* find_plan(Cuda gpu, const ConvForward& op) {
  std::vector<std::int64_t> key = key_of(Part::forward, op);
  key.insert(key.end(), {op.bias != nullptr, op.residual != nullptr,
                         static_cast<std::int64_t>(op.activation), std::bit_cast<int>(op.slope)});
  return cudnn::find_plan(gpu, std::move(key), [&] { return make_plan(gpu, op); });
}

const Plan* find_plan(Cuda gpu, const ConvInputGradient& op) {
  return cudnn::find_plan(gpu, key_of(Part::input_gradient, op),
                          [&] { return make_plan(gpu, op); });
}

const Plan* find_plan(Cuda gpu, const ConvWeightGradient& op) {
  if (op.dbias) return nullptr;  // cuDNN sums dy neither in this graph nor in one of its own
  return cudnn::find_plan(gpu, key_of(Part::weight_gradient, op),
                          [&] { return make_plan(gpu, op); });
}

const Plan& require(const Plan* plan) {
  if (plan) return *plan;
  throw Error(
      "cuDNN has no engine for this convolution, its type and what is fused with it: use the "
      "project's own kernels");
}

}  // namespace

bool conv_cudnn_takes(Cuda gpu, const ConvForward& op) {
  return find_plan(gpu, op);
}

bool conv_cudnn_takes(Cuda gpu, const ConvInputGradient& op) {
  return find_plan(gpu, op);
}

bool conv_cudnn_takes(Cuda gpu, const ConvWeightGradient& op) {
  return find_plan(gpu, op);
}

std::size_t conv_cudnn_workspace_bytes(Cuda gpu, const ConvForward& op) {
  return require(find_plan(gpu, op)).workspace_bytes();
}

std::size_t conv_cudnn_workspace_bytes(Cuda gpu, const ConvInputGradient& op) {
  return require(find_plan(gpu, op)).workspace_bytes();
}

std::size_t conv_cudnn_workspace_bytes(Cuda gpu, const ConvWeightGradient& op) {
  return require(find_plan(gpu, op)).workspace_bytes();
}

void conv_cudnn(Cuda gpu, const ConvForward& op) {
  const Plan& plan = require(find_plan(gpu, op));
  if (op.bias && op.residual)
    plan.run(gpu, op.workspace, {op.x, op.weight, op.bias, op.residual, op.y});
  else if (op.bias || op.residual)
    plan.run(gpu, op.workspace, {op.x, op.weight, op.bias ? op.bias : op.residual, op.y});
  else
    plan.run(gpu, op.workspace, {op.x, op.weight, op.y});
}

void conv_cudnn(Cuda gpu, const ConvInputGradient& op) {
  require(find_plan(gpu, op)).run(gpu, op.workspace, {op.dy, op.weight, op.dx});
}

void conv_cudnn(Cuda gpu, const ConvWeightGradient& op) {
  require(find_plan(gpu, op)).run(gpu, op.workspace, {op.x, op.dy, op.dweight});
}

}  // namespace anaphase::kernels
