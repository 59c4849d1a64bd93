// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/linear_cublas.hpp"

#include <cublasLt.h>

#include <map>
#include <mutex>
#include <optional>

// Matrix products by cuBLASLt, for comparison with linear.cu and the convolutions behind it.
// Written without a GPU at hand: compiled, not yet run.
//
// cuBLAS counts along columns: what we call [rows, columns] is to it a matrix of `columns` rows.
// So y^T = weight x^T, dx^T = weight^T dy^T and dweight^T = x^T dy are what it is asked for.

namespace anaphase::kernels {
namespace {

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(std::string("cuBLAS failed at ") + what + ": " + cublasLtGetStatusString(status));
}

cudaDataType_t data_type(DType type) {
  switch (type) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::bf16:
      return CUDA_R_16BF;
    default:
      throw Error("a GPU computes in f32 and bf16: use one of these types");
  }
}

/// d = epilogue(a b + c), d [rows, columns] as cuBLAS counts: columns lie one after another.
struct Product {
  std::int64_t rows = 0, columns = 0, inner = 0;
  bool transpose_a = false, transpose_b = false;  // the other way round in memory
  DType type = DType::f32, result = DType::f32;   // of a and b, of c and d
  bool allow_tf32 = false;
  const void *a = nullptr, *b = nullptr;
  const void* c = nullptr;  // null: nothing is added
  void* d = nullptr;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;  // or where its gradient goes
  void* workspace = nullptr;
};

cublasLtHandle_t handle_of(Cuda gpu) {
  static std::mutex mutex;
  static std::map<int, cublasLtHandle_t> handles;  // as streams, never destroyed
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[gpu.index];
  if (!handle) check(cublasLtCreate(&handle), "starting");
  return handle;
}

/// A product as cuBLASLt describes it, and the way that its heuristics choose.
class Plan {
 public:
  Plan(Cuda gpu, const Product& p) : gpu_(gpu), product_(p) {
    const bool tf32 = p.type == DType::f32 && p.allow_tf32;
    check(cublasLtMatmulDescInit(&matmul_, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                 CUDA_R_32F),
          "describing a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, p.epilogue);
    if (p.bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    describe(a_, p.type, p.rows, p.inner, p.transpose_a);
    describe(b_, p.type, p.inner, p.columns, p.transpose_b);
    describe(d_, p.result, p.rows, p.columns, false);
    choose();
  }

  bool is_possible() const { return chosen_.has_value(); }
  std::size_t workspace_bytes() const { return chosen().workspaceSize; }
  void run() const {
    const float alpha = 1, beta = product_.c ? 1 : 0;
    const cublasLtMatmulHeuristicResult_t& way = chosen();
    check(cublasLtMatmul(handle_of(gpu_), &matmul_, &alpha, product_.a, &a_, product_.b, &b_, &beta,
                         product_.c ? product_.c : product_.d, &d_, product_.d, &d_, &way.algo,
                         product_.workspace, way.workspaceSize,
                         static_cast<cudaStream_t>(gpu_.stream)),
          "a product");
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t name, const T& value) {
    check(cublasLtMatmulDescSetAttribute(&matmul_, name, &value, sizeof value),
          "describing a product");
  }

  static void describe(cublasLtMatrixLayoutOpaque_t& layout, DType type, std::int64_t rows,
                       std::int64_t columns, bool transpose) {
    if (transpose) std::swap(rows, columns);
    check(cublasLtMatrixLayoutInit(&layout, data_type(type), rows, columns, rows),
          "describing a matrix");
  }

  void choose() {
    constexpr std::size_t most_workspace = 32 << 20;
    constexpr std::uint32_t alignment = 64;  // as launch.hpp promises
    constexpr std::uint32_t sums = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;  // parts meet in float
    cublasLtMatmulPreferenceOpaque_t preference;
    check(cublasLtMatmulPreferenceInit(&preference), "preparing a choice");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
      check(cublasLtMatmulPreferenceSetAttribute(&preference, name, &value, sizeof value),
            "preparing a choice");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, sums);
    for (const auto matrix :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(matrix, alignment);
    int count = 0;
    cublasLtMatmulHeuristicResult_t best;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_of(gpu_), &matmul_, &a_, &b_, &d_, &d_, &preference, 1, &best, &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return;
    check(status, "choosing how to multiply");
    if (count > 0 && best.state == CUBLAS_STATUS_SUCCESS) chosen_ = best;
  }

  const cublasLtMatmulHeuristicResult_t& chosen() const {
    if (chosen_) return *chosen_;
    throw Error(
        "cuBLAS does not compute this product with all that is fused with it: use the project's "
        "own kernels");
  }

  Cuda gpu_;
  Product product_;
  mutable cublasLtMatmulDescOpaque_t matmul_;
  mutable cublasLtMatrixLayoutOpaque_t a_, b_, d_;  // mutable: cuBLAS knows no const
  std::optional<cublasLtMatmulHeuristicResult_t> chosen_;
};

/// Whether what is to be fused is among cuBLASLt's epilogues.
bool has_epilogue(const LinearForward& op) {
  const bool knows_activation =
      op.activation == Activation::none || op.activation == Activation::relu;
  return knows_activation && (!op.bias || op.type == DType::f32);
}

Plan plan_of(Cuda gpu, const LinearForward& op) {
  if (!has_epilogue(op))
    throw Error(
        "cuBLAS fuses relu alone, and a bias with f32: use the project's own kernels for others");
  const bool is_relu = op.activation == Activation::relu;
  return {gpu,
          {.rows = op.out,
           .columns = op.rows,
           .inner = op.in,
           .transpose_a = true,
           .type = op.type,
           .result = op.type,
           .allow_tf32 = op.allow_tf32,
           .a = op.weight,
           .b = op.x,
           .c = op.residual,
           .d = op.y,
           .epilogue = op.bias   ? is_relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
                       : is_relu ? CUBLASLT_EPILOGUE_RELU
                                 : CUBLASLT_EPILOGUE_DEFAULT,
           .bias = op.bias,
           .workspace = op.workspace}};
}

Plan plan_of(Cuda gpu, const LinearInputGradient& op) {
  return {gpu,
          {.rows = op.in,
           .columns = op.rows,
           .inner = op.out,
           .type = op.type,
           .result = op.type,
           .allow_tf32 = op.allow_tf32,
           .a = op.weight,
           .b = op.dy,
           .d = op.dx,
           .workspace = op.workspace}};
}

Plan plan_of(Cuda gpu, const LinearWeightGradient& op) {
  return {gpu,
          {.rows = op.in,
           .columns = op.out,
           .inner = op.rows,
           .transpose_b = true,
           .type = op.type,
           .result = DType::f32,
           .allow_tf32 = op.allow_tf32,
           .a = op.x,
           .b = op.dy,
           .d = op.dweight,
           .epilogue = op.dbias ? CUBLASLT_EPILOGUE_BGRADB : CUBLASLT_EPILOGUE_DEFAULT,
           .bias = op.dbias,
           .workspace = op.workspace}};
}

}  // namespace

bool linear_cublas_takes(Cuda gpu, const LinearForward& op) {
  return has_epilogue(op) && plan_of(gpu, op).is_possible();
}

bool linear_cublas_takes(Cuda gpu, const LinearInputGradient& op) {
  return plan_of(gpu, op).is_possible();
}

bool linear_cublas_takes(Cuda gpu, const LinearWeightGradient& op) {
  return plan_of(gpu, op).is_possible();
}

std::size_t linear_cublas_workspace_bytes(Cuda gpu, const LinearForward& op) {
  return plan_of(gpu, op).workspace_bytes();
}

std::size_t linear_cublas_workspace_bytes(Cuda gpu, const LinearInputGradient& op) {
  return plan_of(gpu, op).workspace_bytes();
}

std::size_t linear_cublas_workspace_bytes(Cuda gpu, const LinearWeightGradient& op) {
  return plan_of(gpu, op).workspace_bytes();
}

void linear_cublas(Cuda gpu, const LinearForward& op) {
  plan_of(gpu, op).run();
}

void linear_cublas(Cuda gpu, const LinearInputGradient& op) {
  plan_of(gpu, op).run();
}

void linear_cublas(Cuda gpu, const LinearWeightGradient& op) {
  plan_of(gpu, op).run();
}

}  // namespace anaphase::kernels
