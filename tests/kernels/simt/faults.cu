// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/async_copy.cuh"
#include "kernels/common/gpu/matrix.cuh"
#include "kernels/common/gpu/reduce.cuh"
#include "kernels/common/gpu/vector.cuh"
#include "tests/kernels/simt/device_array.hpp"
#include "tests/kernels/simt/kernels.hpp"

// One mistake a kernel. The comment at the line that the error should name is the fault's name.

namespace anaphase::test {

using namespace kernels;

namespace {

__device__ int my_thread() {
  return static_cast<int>(threadIdx.x);
}

// ---- Races within a block ---------------------------------------------------------------------

__global__ void missing_barrier(float* out) {
  __shared__ SharedArray<float, 64> tile;
  tile[my_thread()] = 1;
  __syncwarp();
  out[threadIdx.x] = tile[max(my_thread() - 1, 0)];  // read without a barrier
}

__global__ void missing_second_barrier(float* out) {
  __shared__ SharedArray<float, 64> tile;
  tile[my_thread()] = 1;
  __syncthreads();
  out[threadIdx.x] = tile[63 - my_thread()];
  if (threadIdx.x < 32) tile[my_thread()] = 2;  // write without a barrier
}

__global__ void missing_barrier_after_all_read(float* out) {
  __shared__ SharedArray<float, 1> one;
  if (threadIdx.x == 0) one[0] = 1;
  __syncthreads();
  out[threadIdx.x] = one[0];
  __syncwarp();
  if (threadIdx.x == 1) one[0] = 2;  // write after reads of two warps
}

__global__ void shuffle_is_no_barrier(float* out) {
  __shared__ SharedArray<float, 32> tile;
  tile[my_thread()] = 1;
  const float sum = warp_sum(out[threadIdx.x]);
  out[threadIdx.x] = sum + tile[31 - my_thread()];  // read after a shuffle alone
}

__global__ void warp_barrier_of_one_half(float* out) {
  __shared__ SharedArray<float, 32> tile;
  tile[my_thread()] = 1;
  __syncwarp();
  if (threadIdx.x >= 16) {
    tile[my_thread()] = 2;
    __syncwarp(0xffff0000U);
  } else {
    out[threadIdx.x] = tile[31 - my_thread()];  // read across halves
  }
}

__global__ void plain_beside_atomic(float* out) {
  __shared__ SharedArray<float, 1> sum;
  if (threadIdx.x == 0) sum[0] = 0;
  __syncthreads();
  if (threadIdx.x > 0)
    atomicAdd(&sum[0], 1.0F);
  else
    out[0] = sum[0];  // read beside atomics
}

__global__ void unwritten(float* out) {
  __shared__ SharedArray<float, 64> tile;
  if (threadIdx.x != 3) tile[my_thread()] = 1;
  __syncthreads();
  out[threadIdx.x] = tile[my_thread()];  // read of unwritten memory
}

__global__ void unwritten_counter(unsigned*) {
  __shared__ SharedArray<unsigned, 1> counter;
  atomicAdd(&counter[0], 1);  // atomic on unwritten memory
}

// ---- Barriers ---------------------------------------------------------------------------------

__global__ void early_return(int count, float* out) {
  if (my_thread() >= count) return;
  __syncthreads();  // barrier that some never reach
  out[threadIdx.x] = 1;
}

__global__ void divergent(float* out) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();  // another barrier
  }
  out[threadIdx.x] = 1;
}

__global__ void barrier_for_some_warps(float* out) {
  if (threadIdx.x < 32) __syncthreads();  // barrier of one warp
  out[threadIdx.x] = 1;
}

// ---- Collectives of a warp --------------------------------------------------------------------

__global__ void exited_lane(float* out) {
  if (threadIdx.x == 31) return;
  out[threadIdx.x] = __shfl_down_sync(all_lanes, 1.0F, 1);  // shuffle with a lane that has ended
}

__global__ void unmasked_lane(float* out) {
  if (threadIdx.x < 16)
    out[threadIdx.x] = __shfl_xor_sync(0xffffU, 1.0F, 16);  // shuffle from outside the mask
}

__global__ void mask_without_caller(float* out) {
  out[threadIdx.x] = __shfl_sync(0xffffU, 1.0F, 0);  // mask without the caller
}

__global__ void different_collectives(unsigned* out) {
  if (threadIdx.x < 16)
    out[threadIdx.x] = __ballot_sync(all_lanes, 1);
  else
    out[threadIdx.x] = __shfl_sync(all_lanes, 1U, 0);  // another collective
}

__global__ void lane_at_barrier(float* out) {
  if (threadIdx.x == 7)
    __syncthreads();
  else
    __syncwarp();  // lane 7 is at the barrier
  out[threadIdx.x] = 1;
}

__global__ void different_masks(float* out) {
  if (threadIdx.x < 16)
    __syncwarp();  // lanes of different masks
  else
    __syncwarp(0xffff8000U);
  out[threadIdx.x] = 1;
}

__global__ void partial_warp(float* out) {
  out[threadIdx.x] = warp_sum(1.0F);
}

__global__ void odd_width(float* out) {
  out[threadIdx.x] = __shfl_down_sync(all_lanes, 1.0F, 1, 12);  // width of 12
}

// ---- Global memory ----------------------------------------------------------------------------

__global__ void same_element(float* out) {
  out[threadIdx.x] = static_cast<float>(blockIdx.x);  // two blocks write
}

__global__ void neighbour_block(float* x) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  x[i] = x[(i + 32) % 128] + 1;  // block reads what another writes
}

__global__ void without_fence(float* partial, unsigned* counter, float* sum) {
  partial[blockIdx.x] = 1;
  if (atomicAdd(counter, 1) == 3)
    for (int i = 0; i < 4; ++i) *sum += partial[i];  // partial sums without a fence
}

__global__ void write_past_end(int count, float* x) {
  for_each_index(count, [&](std::int64_t i) {
    x[i] = 1;  // write past the end
  });
}

__global__ void read_past_end(const float* x, float* out) {
  out[threadIdx.x] = x[threadIdx.x + 1];  // read past the end
}

__global__ void vector_past_end(const float* x, float* out) {
  const Vector<float, 4> v = load<4>(x + 4 * threadIdx.x);  // vector past the end
  out[threadIdx.x] = v[0] + v[1] + v[2] + v[3];
}

__global__ void read_before(const float* x, float* out) {
  out[threadIdx.x] = x[my_thread() - 1];  // read before the beginning
}

__global__ void shared_past_end(float* out) {
  __shared__ SharedArray<float, 32> first;
  __shared__ SharedArray<float, 32> second;
  first[my_thread()] = second[my_thread()] = 1;
  __syncthreads();
  out[threadIdx.x] = first[my_thread() + 1];  // shared read past the end
}

__global__ void shared_before(float* out) {
  __shared__ SharedArray<float, 32> tile;
  tile[my_thread() - 1] = 1;  // shared write before the beginning
  out[threadIdx.x] = 1;
}

__global__ void dynamic_past_end(float* out) {
  auto* const tile = reinterpret_cast<float*>(dynamic_shared());
  tile[threadIdx.x] = 1;  // dynamic shared memory past the end
  out[threadIdx.x] = 1;
}

__global__ void misaligned(const float* x, float* out) {
  const Vector<float, 4> v = load<4>(x + 1);  // misaligned load
  out[threadIdx.x] = v[0];
}

__global__ void misaligned_copy(const float* x, float* out) {
  __shared__ SharedArray<float, 32> tile;
  async_copy_16(tile.data() + 2, x, true);  // misaligned copy
  out[threadIdx.x] = 1;
}

__global__ void host_memory(const float* x, float* out) {
  out[threadIdx.x] = x[threadIdx.x];  // memory of the host
}

__global__ void freed_memory(float* out) {
  out[threadIdx.x] = 1;  // freed memory
}

// ---- Asynchronous copies ----------------------------------------------------------------------

__global__ void missing_wait(const float* x, float* out) {
  __shared__ SharedArray<float, 32> tile;
  async_copy_4(&tile[my_thread()], x + threadIdx.x, true);
  async_commit();
  __syncthreads();
  out[threadIdx.x] = tile[31 - my_thread()];  // read of a copy under way
}

__global__ void copy_over_read(const float* x, float* out) {
  __shared__ SharedArray<float, 32> tile;
  tile[my_thread()] = 1;
  __syncthreads();
  out[threadIdx.x] = tile[31 - my_thread()];
  if (threadIdx.x == 0) async_copy_4(tile.data(), x, true);  // copy over what others read
  async_commit();
  async_wait<0>();
}

__global__ void copy_to_global(const float* x, float* out) {
  async_copy_4(out + threadIdx.x, x + threadIdx.x, true);  // copy to global memory
}

// ---- Limits -----------------------------------------------------------------------------------

__global__ void much_static_memory(float* out) {
  __shared__ SharedArray<float, 8 << 10> first;
  __shared__ SharedArray<float, 4 << 10> second;
  first[my_thread()] = second[my_thread()] = 1;
  __shared__ SharedArray<float, 1> third;
  third[0] = 1;
  out[threadIdx.x] = 1;
}

__global__ void static_beside_dynamic(float* out) {
  __shared__ SharedArray<float, 8 << 10> tile;
  tile[my_thread()] = 1;
  out[threadIdx.x] = 1;
}

// ---- How to launch them -----------------------------------------------------------------------

/// Zeros on the device, as many as the largest of the kernels above writes.
template <auto Kernel, class T = float>
void run(unsigned blocks, unsigned threads, std::size_t shared_bytes = 0) {
  const DeviceArray<T> out(128);
  launch<Kernel>(Gpu{}, {blocks, threads, shared_bytes}, out.data());
}

/// The same with an input of 32 elements.
template <auto Kernel>
void run_with_input(unsigned threads) {
  const DeviceArray<float> x(32), out(128);
  launch<Kernel>(Gpu{}, {1, threads}, x.data(), out.data());
}

}  // namespace

const std::vector<PlantedFault>& planted_faults() {
  static const std::vector<PlantedFault> all{
      {"read without a barrier",
       "missing_barrier, block (0, 0, 0), thread (32, 0, 0) at @: reads byte 124 of a shared array "
       "of 256 bytes, which thread (31, 0, 0) wrote since the last barrier: a race",
       [] { run<missing_barrier>(1, 64); }},
      {"write without a barrier",
       "missing_second_barrier, block (0, 0, 0), thread (0, 0, 0) at @: writes byte 0 of a "
       "shared array of 256 bytes, which thread (63, 0, 0) read since the last barrier: a race",
       [] { run<missing_second_barrier>(1, 64); }},
      {"write after reads of two warps",
       "missing_barrier_after_all_read, block (0, 0, 0), thread (1, 0, 0) at @: writes byte 0 of "
       "a shared array of 4 bytes, which thread (*, 0, 0) read since the last barrier: a race",
       [] { run<missing_barrier_after_all_read>(1, 64); }},
      {"read after a shuffle alone",
       "shuffle_is_no_barrier, block (0, 0, 0), thread (*, 0, 0) at @: reads byte * of a shared "
       "array of 128 bytes, which thread (*, 0, 0) wrote since the last barrier: a race",
       [] { run<shuffle_is_no_barrier>(1, 32); }},
      {"read across halves",
       "warp_barrier_of_one_half, block (0, 0, 0), thread (*, 0, 0) at @: reads byte * of a shared "
       "array of 128 bytes, which thread (*, 0, 0) wrote since the last barrier: a race",
       [] { run<warp_barrier_of_one_half>(1, 32); }},
      {"read beside atomics",
       "plain_beside_atomic, block (0, 0, 0), thread (0, 0, 0) at @: reads byte 0 of a shared "
       "array of 4 bytes, which thread (62, 0, 0) wrote since the last barrier: a race",
       [] { run<plain_beside_atomic>(1, 64); }},
      {"read of unwritten memory",
       "unwritten, block (0, 0, 0), thread (3, 0, 0) at @: reads byte 12 of a shared array of 256 "
       "bytes, which no thread has written",
       [] { run<unwritten>(1, 64); }},
      {"atomic on unwritten memory",
       "unwritten_counter, block (0, 0, 0), thread (0, 0, 0) at @: reads byte 0 of a shared array "
       "of 4 bytes, which no thread has written",
       [] { run<unwritten_counter, unsigned>(1, 32); }},
      {"barrier that some never reach",
       "early_return, block (0, 0, 0), thread (0, 0, 0) at @: __syncthreads is reached by 50 of 64 "
       "threads of the block; thread (50, 0, 0) has ended without it",
       [] {
         const DeviceArray<float> out(64);
         launch<early_return>(Gpu{}, {1, 64}, 50, out.data());
       }},
      {"another barrier",
       "divergent, block (0, 0, 0), thread (1, 0, 0) at @: waits at a barrier while other threads "
       "of the block wait at the one of faults.cu:*: all threads have to reach the same barrier",
       [] { run<divergent>(1, 64); }},
      {"barrier of one warp",
       "barrier_for_some_warps, block (0, 0, 0), thread (0, 0, 0) at @: __syncthreads is reached "
       "by 32 of 64 threads of the block; thread (32, 0, 0) has ended without it",
       [] { run<barrier_for_some_warps>(1, 64); }},
      {"shuffle with a lane that has ended",
       "exited_lane, block (0, 0, 0), thread (0, 0, 0) at @: __shfl_down_sync waits for lane 31, "
       "which has ended",
       [] { run<exited_lane>(1, 32); }},
      {"shuffle from outside the mask",
       "unmasked_lane, block (0, 0, 0), thread (15, 0, 0) at @: __shfl_xor_sync reads lane 31, "
       "which is not in its mask",
       [] { run<unmasked_lane>(1, 32); }},
      {"mask without the caller",
       "mask_without_caller, block (0, 0, 0), thread (*, 0, 0) at @: __shfl_sync with a mask that "
       "lacks the calling lane",
       [] { run<mask_without_caller>(1, 32); }},
      {"another collective",
       "different_collectives, block (0, 0, 0), thread (16, 0, 0) at @: __shfl_sync while other "
       "lanes of its mask are in __ballot_sync at faults.cu:*",
       [] { run<different_collectives, unsigned>(1, 32); }},
      {"lane 7 is at the barrier",
       "lane_at_barrier, block (0, 0, 0), thread (0, 0, 0) at @: __syncwarp waits for lane 7, "
       "which waits in __syncthreads at faults.cu:*",
       [] { run<lane_at_barrier>(1, 32); }},
      {"lanes of different masks",
       "different_masks, block (0, 0, 0), thread (0, 0, 0) at @: __syncwarp waits for lane 16, "
       "which waits in __syncwarp at faults.cu:*",
       [] { run<different_masks>(1, 32); }},
      {"a warp that is not whole",
       "partial_warp, block (0, 0, 0), thread (32, 0, 0) at reduce.cuh:*: __shfl_xor_sync waits "
       "for lane 16, which the block does not have",
       [] { run<partial_warp>(1, 48); }},
      {"width of 12",
       "odd_width, block (0, 0, 0), thread (0, 0, 0) at @: a shuffle's width has to be a power of "
       "two up to 32",
       [] { run<odd_width>(1, 32); }},
      {"two blocks write",
       "same_element, block (*, 0, 0), thread (*, 0, 0) at @: writes byte * of a buffer of 512 "
       "bytes, which block * of the grid wrote in the same launch: a race between blocks",
       [] { run<same_element>(4, 64); }},
      {"block reads what another writes",
       "neighbour_block, block (*, 0, 0), thread (*, 0, 0) at @: * byte * of a buffer of 512 "
       "bytes, which block * of the grid * in the same launch: a race between blocks",
       [] { run<neighbour_block>(4, 32); }},
      {"partial sums without a fence",
       "without_fence, block (*, 0, 0), thread (0, 0, 0) at @: reads byte * of a buffer of 16 "
       "bytes, which block * of the grid wrote in the same launch: a race between blocks",
       [] {
         const DeviceArray<float> partial(4), sum(1);
         const DeviceArray<unsigned> counter(1);
         launch<without_fence>(Gpu{}, {4, 1}, partial.data(), counter.data(), sum.data());
       }},
      {"write past the end",
       "write_past_end, block (*, 0, 0), thread (*, 0, 0) at @: a write of 4 bytes ends * bytes "
       "past the end of a buffer of 400 bytes",
       [] {
         const DeviceArray<float> x(100);
         launch<write_past_end>(Gpu{}, {4, 32}, 101, x.data());
       }},
      {"read past the end",
       "read_past_end, block (0, 0, 0), thread (31, 0, 0) at @: a read of 4 bytes ends 4 bytes "
       "past the end of a buffer of 128 bytes",
       [] { run_with_input<read_past_end>(32); }},
      {"vector past the end",
       "vector_past_end, block (0, 0, 0), thread (8, 0, 0) at @: a read of * bytes ends * bytes "
       "past the end of a buffer of 128 bytes",
       [] { run_with_input<vector_past_end>(9); }},
      {"read before the beginning",
       "read_before, block (0, 0, 0), thread (0, 0, 0) at @: a read of 4 bytes begins 4 bytes "
       "before a buffer of 128 bytes",
       [] { run_with_input<read_before>(32); }},
      {"shared read past the end",
       "shared_past_end, block (0, 0, 0), thread (31, 0, 0) at @: a read of 4 bytes ends 4 bytes "
       "past the end of a shared array of 128 bytes",
       [] { run<shared_past_end>(1, 32); }},
      {"shared write before the beginning",
       "shared_before, block (0, 0, 0), thread (0, 0, 0) at @: a write of 4 bytes begins 4 bytes "
       "before a shared array of 128 bytes",
       [] { run<shared_before>(1, 32); }},
      {"dynamic shared memory past the end",
       "dynamic_past_end, block (0, 0, 0), thread (20, 0, 0) at @: a write of 4 bytes ends 4 bytes "
       "past the end of a shared array of 80 bytes",
       [] { run<dynamic_past_end>(1, 32, 80); }},
      {"misaligned load",
       "misaligned, block (0, 0, 0), thread (0, 0, 0) at @: 16 bytes at an address that is no "
       "multiple of 16",
       [] { run_with_input<misaligned>(32); }},
      {"misaligned copy",
       "misaligned_copy, block (0, 0, 0), thread (0, 0, 0) at @: an asynchronous copy of 16 bytes "
       "to an address that is no multiple of 16",
       [] { run_with_input<misaligned_copy>(32); }},
      {"memory of the host",
       "host_memory, block (0, 0, 0), thread (0, 0, 0) at @: a read of 4 bytes of memory that "
       "belongs to no buffer and no shared array",
       [] {
         const std::vector<float> x(32);
         const DeviceArray<float> out(32);
         launch<host_memory>(Gpu{}, {1, 32}, x.data(), out.data());
       }},
      {"freed memory",
       "freed_memory, block (0, 0, 0), thread (0, 0, 0) at @: a write of 4 bytes of memory that "
       "belongs to no buffer and no shared array",
       [] {
         float* freed = DeviceArray<float>(32).data();
         launch<freed_memory>(Gpu{}, {1, 32}, freed);
       }},
      {"read of a copy under way",
       "missing_wait, block (0, 0, 0), thread (*, 0, 0) at @: reads byte * of a shared array of "
       "128 bytes, to which an asynchronous copy of thread (*, 0, 0) is under way",
       [] { run_with_input<missing_wait>(32); }},
      {"copy over what others read",
       "copy_over_read, block (0, 0, 0), thread (0, 0, 0) at @: writes byte 0 of a shared array "
       "of 128 bytes, which thread (31, 0, 0) read since the last barrier: a race",
       [] { run_with_input<copy_over_read>(32); }},
      {"copy to global memory",
       "copy_to_global, block (0, 0, 0), thread (0, 0, 0) at @: an asynchronous copy writes to "
       "memory that is not shared",
       [] { run_with_input<copy_to_global>(32); }},
      {"too much static shared memory",
       "much_static_memory, block (0, 0, 0), thread (0, 0, 0): 49156 bytes of static shared "
       "memory, 49152 at most",
       [] { run<much_static_memory>(1, 32); }},
      {"too much static and dynamic shared memory",
       "static_beside_dynamic, block (0, 0, 0), thread (0, 0, 0): 32768 bytes of static and 16388 "
       "of dynamic shared memory, 49152 at most together",
       [] { run<static_beside_dynamic>(1, 32, 16388); }},
      {"too much dynamic shared memory",
       "static_beside_dynamic: 1000000 bytes of dynamic shared memory; 166912 are allowed",
       [] { run<static_beside_dynamic>(1, 32, 1000000); }},
      {"too many threads",
       "static_beside_dynamic: a block of (1025, 1, 1) threads; 1 to 1024 are possible, 64 in z",
       [] { run<static_beside_dynamic>(1, 1025); }},
      {"no blocks",
       "static_beside_dynamic: a grid of (0, 1, 1) blocks; at least 1 and at most (2147483647, "
       "65535, 65535) are possible",
       [] { run<static_beside_dynamic>(0, 1); }},
  };
  return all;
}

}  // namespace anaphase::test
