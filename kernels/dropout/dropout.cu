// SPDX-License-Identifier: Apache-2.0
#include "kernels/dropout/dropout.hpp"

#include "kernels/random/philox.cuh"

// y = x / (1 - rate) where the element is kept, else 0; what is kept is computed again from keys
// and positions in the backward pass, so that no mask is stored.
//
// Bytes: 2 s an element of s bytes, the least possible. Instructions: about 30 an element, since
// one thread uses a Philox block for four; 4 to 8 a byte, within the 9 a byte that an H100 issues
// (kernels/random/random.cu). 16 bytes a thread at a time. Aliasing y = x is safe: a thread writes
// what it alone has read.

namespace anaphase::kernels {
namespace {

template <class T, bool Whole>
__global__ void __launch_bounds__(piece_threads) dropout(Dropout op, float scale) {
  constexpr int N = piece_of<T, Whole>;
  for_each_piece<N>(op.n, op.per_sample, [&](int sample, std::int64_t begin) {
    const std::int64_t at = sample * op.per_sample + begin, left = op.per_sample - begin;
    Vector<float, N> v = load_piece<N, Whole>(static_cast<const T*>(op.x) + at, left);
    const Vector<float, N> u = uniforms<N>(op.keys[sample], op.draw, begin);
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] = u[k] >= op.rate ? v[k] * scale : 0.0F;
    store_piece<Whole>(static_cast<T*>(op.y) + at, v, left);
  });
}

}  // namespace

void run(Gpu gpu, const Dropout& op) {
  with_pieces(op, [&]<class T, class Whole>(T, Whole) {
    launch<dropout<T, Whole::value>>(gpu, piece_grid(op, piece_of<T, Whole::value>), op,
                                     1 / (1 - op.rate));
  });
}

}  // namespace anaphase::kernels
