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

Fragments& fragments(Slot& slot) {
  return *reinterpret_cast<Fragments*>(slot.bytes);
}

/// Two bf16 of a register as floats, the lower half first.
void unpack(std::uint32_t pair, float* to) {
  const std::uint32_t bits[2] = {pair << 16, pair & 0xffff0000U};
  std::memcpy(to, bits, sizeof bits);
}

/// What the tensor core makes of a register: the lower 13 bits do not count.
float tf32(std::uint32_t bits) {
  return std::bit_cast<float>(bits & 0xffffe000U);
}

/// D += A B for a whole warp, each sum in order of k.
template <int K>
void multiply(Slot* slots, const float (&a)[16][K], const float (&b)[K][8]) {
  float d[16][8];
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 2; ++i)
      std::memcpy(&d[lane / 4 + 8 * i][lane % 4 * 2], &fragments(slots[lane]).d[2 * i], 8);
  for (int k = 0; k < K; ++k)
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 2; ++i)
      std::memcpy(&fragments(slots[lane]).d[2 * i], &d[lane / 4 + 8 * i][lane % 4 * 2], 8);
}

void multiply_bf16(Slot* slots, unsigned) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments& f = fragments(slots[lane]);
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) unpack(f.a[i], &a[group + i % 2 * 8][2 * member + i / 2 * 8]);
    for (int i = 0; i < 2; ++i) {
      float pair[2];
      unpack(f.b[i], pair);
      b[2 * member + 8 * i][group] = pair[0];
      b[2 * member + 8 * i + 1][group] = pair[1];
    }
  }
  multiply(slots, a, b);
}

void multiply_tf32(Slot* slots, unsigned) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments& f = fragments(slots[lane]);
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) a[group + i % 2 * 8][member + i / 2 * 4] = tf32(f.a[i]);
    for (int i = 0; i < 2; ++i) b[member + 4 * i][group] = tf32(f.b[i]);
  }
  multiply(slots, a, b);
}

void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
         void (*multiply)(Slot*, unsigned), Location where) {
  if (limits().major < 8) fail("mma needs a device of compute capability 8.0", where);
  Fragments mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  std::memcpy(mine.d, d, sizeof d);
  Slot* slots = collective(0xffffffffU, &mine, sizeof mine, "mma", where, multiply);
  std::memcpy(d, fragments(slots[self->lane]).d, sizeof d);
}

}  // namespace

void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              Location where) {
  mma(d, a, b, multiply_bf16, where);
}

void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              Location where) {
  mma(d, a, b, multiply_tf32, where);
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
