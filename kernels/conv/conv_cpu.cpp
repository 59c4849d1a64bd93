// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string_view>

#include "kernels/common/onednn.hpp"
#include "kernels/conv/conv.hpp"
#include "kernels/conv/direct_cpu.hpp"
#include "kernels/conv/winograd_cpu.hpp"

// Activations stay channels last. Weights are reordered into the layout that oneDNN prefers for the
// direction at hand, and weight gradients back from it, inside the workspace in every call: in
// training they change in every step, and it costs about 1 % of the convolution. Winograd's
// algorithm goes before it where it is faster, and packed weights are for loops of our own.

namespace anaphase::kernels {
namespace {

using dnnl::convolution_backward_data;
using dnnl::convolution_backward_weights;
using dnnl::convolution_forward;
using onednn::Desc;
using onednn::Key;
using onednn::Operation;
using onednn::Place;
using onednn::Plan;
using onednn::Tag;

constexpr auto direct_sum = dnnl::algorithm::convolution_direct;
constexpr auto training = dnnl::prop_kind::forward_training;

/// The tensors of a convolution as oneDNN describes them: with depth only where there is any.
struct Tensors {
  Desc x, y, bias;
  Desc weight, weight_gradient;          // as the contract lays them out
  Desc inner_weight_gradient;            // with the output channels innermost
  Desc any_weight, any_weight_gradient;  // as oneDNN likes
  dnnl::memory::dims strides, pads;

  Tensors(const ConvShape& s, DType type) {
    const bool flat = s.d == 1 && s.kernel_d == 1 && s.pad_d == 0;
    const auto dims = [&](int first, int second, int depth, int height, int width) {
      return flat ? dnnl::memory::dims{first, second, height, width}
                  : dnnl::memory::dims{first, second, depth, height, width};
    };
    const auto element = onednn::data_type(type);
    const auto param = onednn::data_type(param_type(type));
    const Tag channels_last = flat ? Tag::nhwc : Tag::ndhwc;
    const auto weight_dims = dims(s.c_out, s.c_in, s.kernel_d, s.kernel_h, s.kernel_w);
    x = Desc(dims(s.n, s.c_in, s.d, s.h, s.w), element, channels_last);
    y = Desc(dims(s.n, s.c_out, s.out_d(), s.out_h(), s.out_w()), element, channels_last);
    bias = Desc({s.c_out}, param, Tag::a);
    weight = Desc(weight_dims, element, channels_last);
    weight_gradient = Desc(weight_dims, param, channels_last);
    inner_weight_gradient = Desc(weight_dims, param, flat ? Tag::hwio : Tag::dhwio);
    any_weight = Desc(weight_dims, element, Tag::any);
    any_weight_gradient = Desc(weight_dims, param, Tag::any);
    strides = {s.stride_d, s.stride_h, s.stride_w};
    pads = {s.pad_d, s.pad_h, s.pad_w};
    if (flat) {
      strides.erase(strides.begin());
      pads.erase(pads.begin());
    }
  }

  convolution_forward::primitive_desc forward(const Desc& wanted_bias,
                                              const dnnl::primitive_attr& attr) const {
    return onednn::describe<convolution_forward>(attr, training, direct_sum, x, any_weight,
                                                 wanted_bias, y, strides, pads, pads);
  }
};

Key key_of(Operation operation, const ConvShape& s, DType type) {
  return Key(operation, type,
             {s.n, s.d, s.h, s.w, s.c_in, s.c_out, s.kernel_d, s.kernel_h, s.kernel_w, s.stride_d,
              s.stride_h, s.stride_w, s.pad_d, s.pad_h, s.pad_w});
}

}  // namespace

static Key key_of(const ConvForward& op) {
  return key_of(Operation::conv_forward, op.shape, op.type)
      .fused(op.bias, op.residual, op.activation, op.slope);
}

static Key key_of(const ConvInputGradient& op) {
  return key_of(Operation::conv_input_gradient, op.shape, op.type);
}

static Key key_of(const ConvWeightGradient& op) {
  return key_of(Operation::conv_weight_gradient, op.shape, op.type)
      .fused(op.dbias, false, Activation::none, 0);
}

/// Buffers: workspace, x, weight, bias, y.
static Plan make_plan(const ConvForward& op) {
  const Tensors t(op.shape, op.type);
  const Desc bias = op.bias ? t.bias : Desc();
  const auto conv =
      t.forward(bias, onednn::attributes(op.residual != nullptr, op.activation, op.slope));
  Plan plan;
  const Place weight = plan.reordered(t.weight, {2}, conv.weights_desc());
  plan.add(conv, {{DNNL_ARG_SRC, t.x, {1}},
                  {DNNL_ARG_WEIGHTS, conv.weights_desc(), weight},
                  {DNNL_ARG_BIAS, bias, {3}},
                  {DNNL_ARG_DST, t.y, {4}}});
  return plan;
}

/// Buffers: workspace, dy, weight, dx.
static Plan make_plan(const ConvInputGradient& op) {
  const Tensors t(op.shape, op.type);
  const auto conv = onednn::describe_backward<convolution_backward_data>(
      t.forward({}, onednn::attributes()), direct_sum, t.x, t.any_weight, t.y, t.strides, t.pads,
      t.pads);
  Plan plan;
  const Place weight = plan.reordered(t.weight, {2}, conv.weights_desc());
  plan.add(conv, {{DNNL_ARG_DIFF_DST, t.y, {1}},
                  {DNNL_ARG_WEIGHTS, conv.weights_desc(), weight},
                  {DNNL_ARG_DIFF_SRC, t.x, {3}}});
  return plan;
}

/// Buffers: workspace, x, dy, dweight, dbias.
static Plan make_plan(const ConvWeightGradient& op) {
  const Tensors t(op.shape, op.type);
  const Desc dbias = op.dbias ? t.bias : Desc();
  const auto described = [&](const Desc& dweight) {
    return onednn::describe_backward<convolution_backward_weights>(
        t.forward({}, onednn::attributes()), direct_sum, t.x, dweight, dbias, t.y, t.strides,
        t.pads, t.pads);
  };
  auto conv = described(t.any_weight_gradient);
  // oneDNN 2.6: for fewer channels than a vector of AVX2 has, its kernel for 1x1 kernels with a
  // stride gives wrong sums. Another layout brings another kernel.
  const bool is_strided = std::ranges::any_of(t.strides, [](auto stride) { return stride > 1; });
  if (op.shape.c_in < 8 && is_strided && conv.impl_info_str() == std::string_view("jit_1x1:avx2"))
    conv = described(t.inner_weight_gradient);
  const Desc preferred = conv.diff_weights_desc();
  const bool same = preferred == t.weight_gradient;
  Plan plan;
  const Place dweight = same ? Place{3} : plan.reserve(preferred);
  plan.add(conv, {{DNNL_ARG_SRC, t.x, {1}},
                  {DNNL_ARG_DIFF_DST, t.y, {2}},
                  {DNNL_ARG_DIFF_WEIGHTS, preferred, dweight},
                  {DNNL_ARG_DIFF_BIAS, dbias, {4}}});
  if (!same) plan.reorder(preferred, dweight, t.weight_gradient, {3});
  return plan;
}

/// Packed weights are for one of our own loops, by the sizes.
static bool is_winograd(const ConvForward& op) {
  return op.packed ? winograd::pays_packed(op) : winograd::pays(op);
}

void run(Cpu, const ConvForward& op) {
  if (is_winograd(op)) return winograd::run(op);
  if (op.packed) return direct::run(op);
  const ConvShape& s = op.shape;
  const std::size_t elements = std::size_t{1} * s.n * s.out_d() * s.out_h() * s.out_w() * s.c_out;
  if (op.residual) onednn::copy(op.y, op.residual, elements * size_of(op.type));
  onednn::run_on(op, {op.workspace, op.x, op.weight, op.bias, op.y});
}

std::size_t packed_bytes(Cpu, const ConvForward& op) {
  if (winograd::pays_packed(op)) return winograd::packed_bytes(op);
  return direct::fits(op) ? direct::packed_bytes(op) : 0;
}

void run(Cpu, const Pack<ConvForward>& pack) {
  if (winograd::pays_packed(pack.op)) return winograd::pack(pack.op, pack.packed);
  direct::pack(pack.op, pack.packed);
}

void run(Cpu, const ConvInputGradient& op) {
  if (winograd::pays(op)) return winograd::run(op);
  onednn::run_on(op, {op.workspace, op.dy, op.weight, op.dx});
}

void run(Cpu, const ConvWeightGradient& op) {
  if (winograd::pays(op)) return winograd::run(op);
  onednn::run_on(op, {op.workspace, op.x, op.dy, op.dweight, op.dbias});
}

std::size_t workspace_bytes(Cpu, const ConvForward& op) {
  if (is_winograd(op)) return winograd::workspace_bytes(op);
  if (op.packed) return direct::workspace_bytes(op);
  return onednn::most_workspace_bytes(op);
}

std::size_t workspace_bytes(Cpu, const ConvInputGradient& op) {
  if (winograd::pays(op)) return winograd::workspace_bytes(op);
  return onednn::most_workspace_bytes(op);
}

std::size_t workspace_bytes(Cpu, const ConvWeightGradient& op) {
  if (winograd::pays(op)) return winograd::workspace_bytes(op);
  return onednn::most_workspace_bytes(op);
}

std::string implementation(Cpu, const ConvForward& op) {
  if (is_winograd(op)) return winograd::name;
  if (op.packed) return direct::name;
  return onednn::plan_of(op).implementation();
}

std::string implementation(Cpu, const ConvInputGradient& op) {
  if (winograd::pays(op)) return winograd::name;
  return onednn::plan_of(op).implementation();
}

std::string implementation(Cpu, const ConvWeightGradient& op) {
  if (winograd::pays(op)) return winograd::name;
  return onednn::plan_of(op).implementation();
}

}  // namespace anaphase::kernels
