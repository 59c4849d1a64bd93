// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/matrix.hpp"

#include <bit>
#include <cstring>

#include "kernels/simt/memory_check.hpp"

namespace anaphase::simt {
namespace {

struct Fragments {
  std::uint32_t a[4], b[2];
  float d[4];
};

float low_half(std::uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}
float high_half(std::uint32_t pair) {
  return std::bit_cast<float>(pair & 0xffff0000U);
}

/// What the tensor core makes of a register: the lower 13 bits do not count.
float tf32(std::uint32_t bits) {
  return std::bit_cast<float>(bits & 0xffffe000U);
}

/// D += A B for a whole warp, each sum in order of k.
template <int K>
void multiply(Fragments (&lanes)[32], const float (&a)[16][K], const float (&b)[K][8]) {
  float d[16][8];
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = lanes[lane].d[i];
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < K; ++k)
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) lanes[lane].d[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

void multiply_bf16(Fragments (&lanes)[32]) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments& f = lanes[lane];
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) {
      float* row = a[group + i % 2 * 8] + 2 * member + i / 2 * 8;
      row[0] = low_half(f.a[i]);
      row[1] = high_half(f.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * member + 8 * i][group] = low_half(f.b[i]);
      b[2 * member + 8 * i + 1][group] = high_half(f.b[i]);
    }
  }
  multiply(lanes, a, b);
}

void multiply_tf32(Fragments (&lanes)[32]) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments& f = lanes[lane];
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) a[group + i % 2 * 8][member + i / 2 * 4] = tf32(f.a[i]);
    for (int i = 0; i < 2; ++i) b[member + 4 * i][group] = tf32(f.b[i]);
  }
  multiply(lanes, a, b);
}

template <void (*Multiply)(Fragments (&)[32])>
void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Location where) {
  if (limits().major < 8) fail("mma needs a device of compute capability 8.0", where);
  Fragments mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  std::memcpy(mine.d, d, sizeof d);
  const Slot* slots =
      collective(0xffffffffU, &mine, sizeof mine, "mma", where, [](Slot* all, unsigned) {
        Fragments lanes[32];
        for (int lane = 0; lane < 32; ++lane)
          std::memcpy(&lanes[lane], all[lane].bytes, sizeof lanes[lane]);
        Multiply(lanes);
        for (int lane = 0; lane < 32; ++lane)
          std::memcpy(all[lane].bytes, &lanes[lane], sizeof lanes[lane]);
      });
  std::memcpy(&mine, slots[self->lane].bytes, sizeof mine);
  std::memcpy(d, mine.d, sizeof d);
}

}  // namespace

void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              Location where) {
  mma<multiply_bf16>(d, a, b, where);
}

void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              Location where) {
  mma<multiply_tf32>(d, a, b, where);
}

void load_matrices(std::uint32_t* registers, int count, const void* row, bool is_transposed,
                   Location where) {
  const int lane = static_cast<int>(self->lane);
  if (lane < 8 * count) {
    if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
      fail("ldmatrix from an address that is no multiple of 16", where);
    check_access(row, 16, AccessKind::read, where);
  }
  const Slot* slots = collective(0xffffffffU, &row, sizeof row, "ldmatrix", where);
  for (int matrix = 0; matrix < count; ++matrix) {
    std::uint16_t half[2];
    for (int i = 0; i < 2; ++i) {
      const int r = is_transposed ? lane % 4 * 2 + i : lane / 4;
      const int c = is_transposed ? lane / 4 : lane % 4 * 2 + i;
      const unsigned char* from;
      std::memcpy(&from, slots[matrix * 8 + r].bytes, sizeof from);
      std::memcpy(&half[i], from + 2 * c, 2);
    }
    registers[matrix] = half[0] | static_cast<std::uint32_t>(half[1]) << 16;
  }
}

}  // namespace anaphase::simt
