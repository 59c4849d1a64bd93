// SPDX-License-Identifier: Apache-2.0
#pragma once

// Small kernels that each use one thing that the executor models, and how to launch them. They
// throw what kernels/common/gpu/launch.cuh throws.

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/simt/executor.hpp"
#include "kernels/simt/runtime.hpp"

namespace anaphase::test {

// block.cu
/// out[i] = the indices of thread i of the whole grid, and the extents, 12 numbers.
void write_indices(simt::dim3 grid, simt::dim3 block, unsigned* out);
/// Turns x [count] around, within blocks of 64, through a static and a dynamic shared array.
void reverse_blocks(int count, float* x);
/// out = {count, or, and} of `x[i] > limit` over a block of 96.
void count_in_block(const int* x, int limit, int* out);
/// The thread that took each of 64 tickets.
void order_of_turns(int* out);

// warp.cu
enum class ShuffleKind { to, up, down, exclusive_or };
/// out[lane] = the shuffled value of `in`, for a width of 2, 4, 8, 16 or 32.
void shuffle(ShuffleKind kind, int distance, int width, const double* in, double* out);
/// out: ballot, any, all of lane >= limit over the lanes of `mask`; one triple a lane.
void vote(unsigned mask, int limit, unsigned* out);
/// out: match_any, match_all of in[lane], and what match_all said; one triple a lane.
void match(const std::uint64_t* in, unsigned* out);
/// out[0] = the active mask of lane 31, which begins when the lanes below `limit` have ended.
void active_lanes(int limit, unsigned* out);

// memory.cu
/// out: what the atomics left, one a function.
void atomics(int* signed_out, unsigned* unsigned_out, float* sum);
/// counts[v] += the number of v in x [count], through counters in shared memory.
void histogram(int count, const int* x, unsigned* counts);
/// *sum = the sum of x [count], by the last of several blocks to end.
void sum_by_last_block(int count, const float* x, float* partial, unsigned* counter, float* sum);
/// y = x [count], by asynchronous copies two tiles ahead; zeros behind the end up to a full tile.
void copy_in_stages(int count, const float* x, float* y);
/// Neighbouring 16-bit elements are written by different blocks.
void interleave(int count, std::uint16_t* y);
/// All lanes read what one of them then overwrites; halves of warps take turns.
void ordered_by_warp_barriers(float* out);

// matrix.cu
/// D [16, 8] += A [16, k] B [k, 8] for k = 16 in bf16 or 8 in tf32, the fragments gathered by hand.
void multiply_bf16(const std::uint16_t* a, const std::uint16_t* b, float* d);
void multiply_tf32(const float* a, const float* b, float* d);
/// The registers that ldmatrix gives: from `count` matrices of 8 x 8, 4 numbers a lane.
void load_matrices(int count, bool transposed, const std::uint16_t* matrices, std::uint32_t* out);
/// D += A B as multiply_bf16, the fragments loaded by ldmatrix from A [16, 16] and B [16, 8].
void multiply_by_ldmatrix(const std::uint16_t* a, const std::uint16_t* b, float* d);

// For the runtime's tests: x[i] = x[i] * factor + 1 for i < count.
void scale_and_add(simt::runtime::cudaStream_t stream, int count, float factor, float* x);
/// A launch with these extents and bytes of dynamic shared memory.
void launch_empty(simt::dim3 grid, simt::dim3 block, std::size_t shared_bytes);

// faults.cu
struct PlantedFault {
  const char* name;  // also the comment at the faulty line of faults.cu
  /// What the error says; * stands for anything, @ for the faulty line as "faults.cu:12".
  const char* sentence;
  void (*run)();
};
const std::vector<PlantedFault>& planted_faults();

}  // namespace anaphase::test
