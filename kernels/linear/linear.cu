// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/linear.hpp"

#include "kernels/common/gpu/activation.cuh"
#include "kernels/common/gpu/reduce.cuh"
#include "kernels/common/gpu/vector.cuh"
#include "kernels/conv/conv.hpp"

// y = activation(x weight^T + bias + residual)
// dx = dy weight, dweight = dy^T x, dbias = column sums of dy
//
// Over many rows these are convolutions of 1 x 1 over an image that is one pixel high, and are
// computed by their kernels. What is left for this file are the few rows of a time embedding. Their
// products are bound by the weights, in * out elements that are read once (4 MB at 1024 x 1024 in
// float32, 1.3 us of an H100's memory, for 2 rows operations each), and a tile of rows would leave
// that to a few multiprocessors, each waiting for one load after another. So the weights are spread
// over all of them:
//
//   forward          a warp an output, its lanes along the inputs, 16 bytes at a time
//   input gradient   a lane an input, the warps of a block along the outputs, added up in shared
//                    memory (16 KiB)
//
// Up to 8 rows share every weight that is loaded (at most 86 registers a thread); x and dy come
// from the L1 cache. More rows read the weights again, from the L2 cache. A row's sums do not
// depend on the number of rows until there are enough for tiles: the time embedding of a sample
// does not depend on its batch.

namespace anaphase::kernels {
namespace {

constexpr int few_rows = 32;
constexpr int forward_warps = 4, gradient_warps = 16;  // of a block

template <class T>
struct FewRows {
  int rows, in, out;
  const T *from, *weight;  // from: x or dy
  T* to;
};

template <class T>
struct Epilogue {
  const float* bias;
  const T* residual;
  ActivationParameters activation;
};

/// Rows: as many share the loads of weights. A row that is not there is computed as another one.
template <class T, int Rows, int Lanes>
__global__ void __launch_bounds__(32 * forward_warps)
    few_rows_forward(FewRows<T> p, Epilogue<T> epilogue) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int o = static_cast<int>(blockIdx.x) * forward_warps + static_cast<int>(threadIdx.x) / 32;
  const int first_row = static_cast<int>(blockIdx.y) * Rows;
  if (o >= p.out) return;
  const T* weight = p.weight + static_cast<std::int64_t>(o) * p.in;

  float sums[Rows] = {};
#pragma unroll 2
  for (int i = lane * Lanes; i < p.in; i += 32 * Lanes) {
    const Vector<float, Lanes> w = load_float<Lanes>(weight + i);
#pragma unroll
    for (int r = 0; r < Rows; ++r) {
      const Vector<float, Lanes> x =
          load_float<Lanes>(p.from + min(first_row + r, p.rows - 1) * p.in + i);
#pragma unroll
      for (int k = 0; k < Lanes; ++k) sums[r] = fmaf(w[k], x[k], sums[r]);
    }
  }
  float sum = 0;  // of the row that has the lane's number
#pragma unroll
  for (int r = 0; r < Rows; ++r) {
    const float whole = warp_sum(sums[r]);
    if (lane == r) sum = whole;
  }
  const int row = first_row + lane;
  if (lane >= Rows || row >= p.rows) return;
  const int at = row * p.out + o;
  if (epilogue.bias) sum += epilogue.bias[o];
  if (epilogue.residual) sum += static_cast<float>(epilogue.residual[at]);
  p.to[at] = T(activate(epilogue.activation, sum));
}

template <class T, int Rows>
__global__ void __launch_bounds__(32 * gradient_warps) few_rows_gradient(FewRows<T> p) {
  __shared__ SharedArray<float, gradient_warps * Rows * 32> sums_of_warps;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int i = static_cast<int>(blockIdx.x) * 32 + lane;
  const int first_row = static_cast<int>(blockIdx.y) * Rows;

  float sums[Rows] = {};
  if (i < p.in) {
#pragma unroll 4
    for (int o = warp; o < p.out; o += gradient_warps) {
      const auto w = static_cast<float>(p.weight[static_cast<std::int64_t>(o) * p.in + i]);
#pragma unroll
      for (int r = 0; r < Rows; ++r)
        sums[r] = fmaf(w, static_cast<float>(p.from[min(first_row + r, p.rows - 1) * p.out + o]),
                       sums[r]);
    }
  }
#pragma unroll
  for (int r = 0; r < Rows; ++r) sums_of_warps[(warp * Rows + r) * 32 + lane] = sums[r];
  __syncthreads();
  const int row = first_row + warp;  // the first warps add up a row each
  if (warp >= Rows || row >= p.rows || i >= p.in) return;
  float sum = 0;
#pragma unroll
  for (int w = 0; w < gradient_warps; ++w) sum += sums_of_warps[(w * Rows + warp) * 32 + lane];
  p.to[row * p.in + i] = T(sum);
}

/// f(std::integral_constant<int, N>{}) for the number N of rows that share weights.
template <class F>
void with_shared_rows(std::int64_t rows, F&& f) {
  if (rows == 1) return f(std::integral_constant<int, 1>{});
  f(std::integral_constant<int, 8>{});
}

template <class Operation>
ConvShape shape_of(const Operation& op) {
  return {.w = static_cast<int>(op.rows), .c_in = op.in, .c_out = op.out};
}

ConvForward as_conv(const LinearForward& op) {
  return {.shape = shape_of(op),
          .type = op.type,
          .allow_tf32 = op.allow_tf32,
          .x = op.x,
          .weight = op.weight,
          .bias = op.bias,
          .residual = op.residual,
          .activation = op.activation,
          .slope = op.slope,
          .y = op.y,
          .workspace = op.workspace};
}

ConvInputGradient as_conv(const LinearInputGradient& op) {
  return {.shape = shape_of(op),
          .type = op.type,
          .allow_tf32 = op.allow_tf32,
          .dy = op.dy,
          .weight = op.weight,
          .dx = op.dx,
          .workspace = op.workspace};
}

ConvWeightGradient as_conv(const LinearWeightGradient& op) {
  return {.shape = shape_of(op),
          .type = op.type,
          .allow_tf32 = op.allow_tf32,
          .x = op.x,
          .dy = op.dy,
          .dweight = op.dweight,
          .dbias = op.dbias,
          .workspace = op.workspace};
}

}  // namespace

void run(Gpu gpu, const LinearForward& op) {
  if (op.rows > few_rows) return run(gpu, as_conv(op));
  const auto rows = static_cast<int>(op.rows);
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.in, [&]<class Lanes>(Lanes) {
      with_shared_rows(rows, [&]<int Rows>(std::integral_constant<int, Rows>) {
        const dim3 blocks(ceil_div(op.out, forward_warps), ceil_div(rows, Rows));
        launch<few_rows_forward<T, Rows, Lanes::value>>(
            gpu, {blocks, 32 * forward_warps},
            FewRows<T>{rows, op.in, op.out, static_cast<const T*>(op.x),
                       static_cast<const T*>(op.weight), static_cast<T*>(op.y)},
            Epilogue<T>{static_cast<const float*>(op.bias),
                        static_cast<const T*>(op.residual),
                        {op.activation, op.slope}});
      });
    });
  });
}

void run(Gpu gpu, const LinearInputGradient& op) {
  if (op.rows > few_rows) return run(gpu, as_conv(op));
  const auto rows = static_cast<int>(op.rows);
  with_gpu_type(op.type, [&]<class T>(T) {
    with_shared_rows(rows, [&]<int Rows>(std::integral_constant<int, Rows>) {
      const dim3 blocks(ceil_div(op.in, 32), ceil_div(rows, Rows));
      launch<few_rows_gradient<T, Rows>>(
          gpu, {blocks, 32 * gradient_warps},
          FewRows<T>{rows, op.in, op.out, static_cast<const T*>(op.dy),
                     static_cast<const T*>(op.weight), static_cast<T*>(op.dx)});
    });
  });
}

void run(Gpu gpu, const LinearWeightGradient& op) {
  run(gpu, as_conv(op));
}

std::size_t workspace_bytes(Gpu gpu, const LinearForward& op) {
  return op.rows > few_rows ? workspace_bytes(gpu, as_conv(op)) : 0;
}

std::size_t workspace_bytes(Gpu gpu, const LinearInputGradient& op) {
  return op.rows > few_rows ? workspace_bytes(gpu, as_conv(op)) : 0;
}

std::size_t workspace_bytes(Gpu gpu, const LinearWeightGradient& op) {
  return workspace_bytes(gpu, as_conv(op));
}

}  // namespace anaphase::kernels
