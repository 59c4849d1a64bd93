// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace anaphase::io::testing {

struct NiftiHeader {
  std::array<int, 3> sides{1, 1, 1};
  int volumes = 1;
  int datatype = 16;  // float32
  float slope = 1, intercept = 0;
  int sform_code = 1, qform_code = 0;
  std::array<std::array<float, 4>, 3> affine{{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}};
  std::array<float, 3> quaternion{0, 0, 0};
};

/// A NIfTI-1 file written by hand from the format's table of offsets.
template <class T>
std::string make_nifti(const NiftiHeader& header, const std::vector<T>& voxels) {
  std::string bytes(352, '\0');
  const auto put = [&bytes](std::size_t offset, auto value) {
    std::memcpy(&bytes[offset], &value, sizeof value);
  };
  put(0, std::int32_t{348});
  put(40, static_cast<std::int16_t>(header.volumes > 1 ? 4 : 3));
  for (int a = 0; a < 3; ++a) put(42 + 2 * a, static_cast<std::int16_t>(header.sides[a]));
  put(48, static_cast<std::int16_t>(header.volumes));
  for (int a = 4; a < 7; ++a) put(42 + 2 * a, std::int16_t{1});
  put(70, static_cast<std::int16_t>(header.datatype));
  put(72, static_cast<std::int16_t>(8 * sizeof(T)));
  for (int a = 0; a < 8; ++a) put(76 + 4 * a, 1.0F);  // pixdim
  put(108, 352.0F);                                   // vox_offset
  put(112, header.slope);
  put(116, header.intercept);
  put(252, static_cast<std::int16_t>(header.qform_code));
  put(254, static_cast<std::int16_t>(header.sform_code));
  for (int a = 0; a < 3; ++a) put(256 + 4 * a, header.quaternion[a]);
  for (int r = 0; r < 3; ++r) {
    for (int c = 0; c < 4; ++c) put(280 + 16 * r + 4 * c, header.affine[r][c]);
  }
  std::memcpy(&bytes[344], "n+1", 4);
  bytes.append(reinterpret_cast<const char*>(voxels.data()), voxels.size() * sizeof(T));
  return bytes;
}

}  // namespace anaphase::io::testing
