// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/random.hpp"

#include "kernels/random/philox.cuh"

// Counter-based random numbers: an element's number is computed from its sample's key and its
// position, wherever and whenever.
//
// Bytes: 4 (f32) or 2 (bf16) an element, written once. Instructions: some 80 for the ten rounds of
// a Philox block, which serves four elements, and 60 for a pair by Box and Muller; with addresses
// 50 an element, 12 to 25 a byte. An H100 issues 9 a byte that its memory moves (132 * 128 lanes *
// 1.75 GHz against 3.35 TB/s), so instructions bound this kernel. Hence one thread uses all of a
// block, and logarithm, sine and cosine are the short polynomials of kernels/random/normal.hpp
// (the hardware's approximations would lose the logarithm next to 1, and with it the promise of
// the same numbers on every device). 20 to 50 registers.

namespace anaphase::kernels {
namespace {

template <class T, bool Whole>
__global__ void __launch_bounds__(piece_threads) random_normal(RandomNormal op) {
  constexpr int N = piece_of<T, Whole>;
  for_each_piece<N>(op.n, op.per_sample, [&](int sample, std::int64_t begin) {
    store_piece<Whole>(static_cast<T*>(op.y) + sample * op.per_sample + begin,
                       normals<N>(op.keys[sample], op.draw, begin), op.per_sample - begin);
  });
}

__global__ void __launch_bounds__(piece_threads) random_integer(RandomInteger op) {
  for_each_index(op.n, [&](std::int64_t s) {
    op.t[s] = integer_from_bits(philox(op.keys[s], 0, op.draw).lane[0], op.low, op.high);
  });
}

}  // namespace

void run(Gpu gpu, const RandomNormal& op) {
  with_pieces(op, [&]<class T, class Whole>(T, Whole) {
    launch<random_normal<T, Whole::value>>(gpu, piece_grid(op, piece_of<T, Whole::value>), op);
  });
}

void run(Gpu gpu, const RandomInteger& op) {
  launch<random_integer>(gpu, {blocks_for(op.n, piece_threads), piece_threads}, op);
}

}  // namespace anaphase::kernels
