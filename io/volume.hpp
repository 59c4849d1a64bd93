// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <vector>

namespace anaphase::io {

/// A 3-D scan in canonical orientation: x grows to the patient's right, y to the front (anterior),
/// z upwards (superior), as near as whole flips and exchanges of axes allow. The voxel (x, y, z) is
/// `voxels[(z * ny + y) * nx + x]`.
struct Volume {
  int nx = 0, ny = 0, nz = 0;
  float sx = 1, sy = 1, sz = 1;  ///< distance of neighbouring voxel centres, in mm
  /// Rows of the 3 x 4 matrix that takes (x, y, z, 1) to millimetres in the scanner's frame.
  std::array<std::array<double, 4>, 3> affine{};
  std::vector<float> voxels;
};

/// Reads NIfTI-1 or -2 (.nii, .nii.gz) with any integer or float voxel type; the header's slope and
/// intercept are applied. Orientation comes from the sform, else the qform, else the voxel sizes
/// are taken as already canonical. An Error when the file is missing, corrupt, truncated, too
/// large, holds several volumes, or colours or complex numbers.
Volume read_nifti(const std::filesystem::path& path);

/// Whether two volumes lie on one grid: equal sizes, and every corner voxel of one within a tenth
/// of the smallest voxel side of the same corner of the other.
bool same_grid(const Volume& a, const Volume& b);

}  // namespace anaphase::io
