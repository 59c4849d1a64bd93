// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_cudnn.hpp"

#include <cmath>
#include <utility>

#include "kernels/common/cudnn.hpp"

// Attention by cuDNN, for comparison with attention.cu. Its log of the sum of exponentials is the
// natural one of scaled scores, as ours. Written without a GPU at hand: compiled, not yet run.

namespace anaphase::kernels {
namespace {

using cudnn::Descriptor;
using cudnn::Graph;
using cudnn::Layout;
using cudnn::Plan;

constexpr std::int64_t attention_forward = 100;  // in keys, after the parts of convolutions

/// [n, heads, tokens, head_dim] as cuDNN counts sizes: one of `parts` parts of each token.
Layout part_of_tokens(const AttentionShape& s, DType type, std::int64_t parts) {
  const std::int64_t channels = std::int64_t{s.heads} * s.head_dim;
  return {cudnn::data_type(type),
          {s.n, s.heads, s.tokens, s.head_dim},
          {s.tokens * parts * channels, s.head_dim, parts * channels, 1}};
}

Layout per_row(const AttentionShape& s) {
  return {CUDNN_DATA_FLOAT,
          {s.n, s.heads, s.tokens, 1},
          {std::int64_t{s.heads} * s.tokens, s.tokens, 1, 1}};
}

/// Arguments: q, k, v, y, log_sum_exp, scale.
Graph graph_of(const AttentionForward& op) {
  const Layout in = part_of_tokens(op.shape, op.type, 3);
  Graph graph;
  Descriptor attention(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
  attention.set(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, graph.argument(in))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, graph.argument(in))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, graph.argument(in))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
           graph.argument(part_of_tokens(op.shape, op.type, 1)))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, graph.argument(per_row(op.shape)))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, graph.number());
  graph.add(std::move(attention));
  return graph;
}

const Plan* find_plan(Cuda gpu, const AttentionForward& op) {
  const AttentionShape& s = op.shape;
  return cudnn::find_plan(
      gpu,
      {attention_forward, static_cast<std::int64_t>(op.type), s.n, s.tokens, s.heads, s.head_dim},
      [&] { return Plan::make(gpu, graph_of(op), op.type == DType::bf16); });
}

const Plan& require_plan(Cuda gpu, const AttentionForward& op) {
  if (const Plan* plan = find_plan(gpu, op)) return *plan;
  throw Error(
      "cuDNN has no engine for attention of this type and these sizes: use the project's own "
      "kernels");
}

}  // namespace

bool attention_cudnn_takes(Cuda gpu, const AttentionForward& op) {
  return find_plan(gpu, op);
}

std::size_t attention_cudnn_workspace_bytes(Cuda gpu, const AttentionForward& op) {
  return require_plan(gpu, op).workspace_bytes();
}

void attention_cudnn(Cuda gpu, const AttentionForward& op) {
  const std::size_t part = size_of(op.type) * op.shape.heads * op.shape.head_dim;
  const char* const q = static_cast<const char*>(op.qkv);
  const float scale = 1 / std::sqrt(static_cast<float>(op.shape.head_dim));
  require_plan(gpu, op).run(gpu, op.workspace,
                            {q, q + part, q + 2 * part, op.y, op.log_sum_exp, &scale});
}

}  // namespace anaphase::kernels
