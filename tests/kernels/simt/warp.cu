// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/reduce.cuh"
#include "tests/kernels/simt/kernels.hpp"

namespace anaphase::test {

using namespace kernels;

namespace {

__global__ void shuffle_kernel(ShuffleKind kind, int distance, int width, const double* in,
                               double* out) {
  const double mine = in[threadIdx.x];
  const auto delta = static_cast<unsigned>(distance);
  double value = 0;
  switch (kind) {
    case ShuffleKind::to:
      value = __shfl_sync(all_lanes, mine, distance, width);
      break;
    case ShuffleKind::up:
      value = __shfl_up_sync(all_lanes, mine, delta, width);
      break;
    case ShuffleKind::down:
      value = __shfl_down_sync(all_lanes, mine, delta, width);
      break;
    case ShuffleKind::exclusive_or:
      value = __shfl_xor_sync(all_lanes, mine, distance, width);
      break;
  }
  out[threadIdx.x] = value;
}

__global__ void vote_kernel(unsigned mask, int limit, unsigned* out) {
  const int lane = static_cast<int>(threadIdx.x);
  if (!(mask >> lane & 1U)) return;
  out[3 * lane] = __ballot_sync(mask, lane >= limit);
  out[3 * lane + 1] = static_cast<unsigned>(__any_sync(mask, lane >= limit));
  out[3 * lane + 2] = static_cast<unsigned>(__all_sync(mask, lane >= limit));
}

__global__ void match_kernel(const std::uint64_t* in, unsigned* out) {
  const unsigned lane = threadIdx.x;
  int all = 0;
  out[3 * lane] = __match_any_sync(all_lanes, in[lane]);
  out[3 * lane + 1] = __match_all_sync(all_lanes, in[lane], &all);
  out[3 * lane + 2] = static_cast<unsigned>(all);
}

__global__ void active_kernel(int limit, unsigned* out) {
  if (static_cast<int>(threadIdx.x) < limit) return;  // before the others begin
  if (threadIdx.x == 31) out[0] = __activemask();
}

}  // namespace

void shuffle(ShuffleKind kind, int distance, int width, const double* in, double* out) {
  launch<shuffle_kernel>(Gpu{}, {1, 32}, kind, distance, width, in, out);
}

void vote(unsigned mask, int limit, unsigned* out) {
  launch<vote_kernel>(Gpu{}, {1, 32}, mask, limit, out);
}

void match(const std::uint64_t* in, unsigned* out) {
  launch<match_kernel>(Gpu{}, {1, 32}, in, out);
}

void active_lanes(int limit, unsigned* out) {
  launch<active_kernel>(Gpu{}, {1, 32}, limit, out);
}

}  // namespace anaphase::test
