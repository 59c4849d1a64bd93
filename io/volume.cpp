// SPDX-License-Identifier: Apache-2.0
#include "io/volume.hpp"

#include <fcntl.h>
#include <nifti2_io.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <tuple>

#include "io/failure.hpp"

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t max_side = 32767;
constexpr std::int64_t max_voxels = std::int64_t{1} << 30;

/// While it lives, what the process writes to stderr is dropped: niftilib prints some of its
/// complaints whatever its debug level.
class QuietStderr {
 public:
  QuietStderr() : kept_(::dup(STDERR_FILENO)) {
    std::fflush(stderr);
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept_ >= 0 && nowhere >= 0) ::dup2(nowhere, STDERR_FILENO);
    if (nowhere >= 0) ::close(nowhere);
  }
  QuietStderr(const QuietStderr&) = delete;
  QuietStderr& operator=(const QuietStderr&) = delete;
  ~QuietStderr() {
    if (kept_ < 0) return;
    std::fflush(stderr);
    ::dup2(kept_, STDERR_FILENO);
    ::close(kept_);
  }

 private:
  int kept_;
};

using NiftiImage = std::unique_ptr<nifti_image, void (*)(nifti_image*)>;

template <class T>
std::vector<float> scaled(const nifti_image& image) {
  const bool scale = image.scl_slope != 0 && std::isfinite(image.scl_slope);
  const double slope = scale ? image.scl_slope : 1.0;
  const double intercept = scale && std::isfinite(image.scl_inter) ? image.scl_inter : 0.0;
  std::vector<float> values(image.nvox);
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, static_cast<const char*>(image.data) + i * sizeof value, sizeof value);
    values[i] = static_cast<float>(slope * static_cast<double>(value) + intercept);
  }
  return values;
}

std::vector<float> voxel_values(const nifti_image& image, const fs::path& path) {
  switch (image.datatype) {
    case NIFTI_TYPE_UINT8:
      return scaled<std::uint8_t>(image);
    case NIFTI_TYPE_INT8:
      return scaled<std::int8_t>(image);
    case NIFTI_TYPE_UINT16:
      return scaled<std::uint16_t>(image);
    case NIFTI_TYPE_INT16:
      return scaled<std::int16_t>(image);
    case NIFTI_TYPE_UINT32:
      return scaled<std::uint32_t>(image);
    case NIFTI_TYPE_INT32:
      return scaled<std::int32_t>(image);
    case NIFTI_TYPE_UINT64:
      return scaled<std::uint64_t>(image);
    case NIFTI_TYPE_INT64:
      return scaled<std::int64_t>(image);
    case NIFTI_TYPE_FLOAT32:
      return scaled<float>(image);
    case NIFTI_TYPE_FLOAT64:
      return scaled<double>(image);
    default:
      cannot_read(path,
                  fmt::format("its voxels are of type {}, not integers or floats of up to 64 bits; "
                              "convert it",
                              nifti_datatype_to_string(image.datatype)));
  }
}

std::array<std::array<double, 4>, 3> stored_affine(const nifti_image& image) {
  std::array<std::array<double, 4>, 3> affine{};
  if (image.sform_code > 0 || image.qform_code > 0) {
    const nifti_dmat44& matrix = image.sform_code > 0 ? image.sto_xyz : image.qto_xyz;
    for (int r = 0; r < 3; ++r) std::copy_n(matrix.m[r], 4, affine[r].begin());
  } else {
    affine[0][0] = image.dx;
    affine[1][1] = image.dy;
    affine[2][2] = image.dz;
  }
  return affine;
}

/// Which stored axis each canonical axis runs along, and whether backwards.
struct AxisMap {
  std::array<int, 3> source{};
  std::array<bool, 3> reversed{};
};

AxisMap canonical_axes(const std::array<std::array<double, 4>, 3>& affine, const fs::path& path) {
  nifti_dmat44 matrix{};
  for (int r = 0; r < 3; ++r) std::copy_n(affine[r].begin(), 4, matrix.m[r]);
  matrix.m[3][3] = 1;
  std::array<int, 3> codes{};
  nifti_dmat44_to_orientation(matrix, &codes[0], &codes[1], &codes[2]);
  AxisMap map;
  for (int stored = 0; stored < 3; ++stored) {
    const int code = codes[stored];  // 1, 2: right or left; 3, 4: front or back; 5, 6: up or down
    if (code < NIFTI_L2R || code > NIFTI_S2I) {
      cannot_read(path, "its orientation matrix is singular; set a valid sform or qform");
    }
    const int canonical = (code - 1) / 2;
    map.source[canonical] = stored;
    map.reversed[canonical] = code % 2 == 0;
  }
  return map;
}

Volume reorient(const std::vector<float>& stored, const std::array<int, 3>& stored_sides,
                const std::array<std::array<double, 4>, 3>& stored_affine, const AxisMap& map) {
  const std::array<std::ptrdiff_t, 3> stored_strides{
      1, stored_sides[0], static_cast<std::ptrdiff_t>(stored_sides[0]) * stored_sides[1]};
  Volume volume;
  std::array<int, 3> sides{};
  std::array<float, 3> spacing{};
  std::array<std::ptrdiff_t, 3> strides{};
  std::ptrdiff_t start = 0;
  for (int r = 0; r < 3; ++r) volume.affine[r][3] = stored_affine[r][3];
  for (int a = 0; a < 3; ++a) {
    const int s = map.source[a];
    const int sign = map.reversed[a] ? -1 : 1;
    sides[a] = stored_sides[s];
    strides[a] = sign * stored_strides[s];
    if (map.reversed[a]) start += (sides[a] - 1) * stored_strides[s];
    double square = 0;
    for (int r = 0; r < 3; ++r) {
      volume.affine[r][a] = sign * stored_affine[r][s];
      if (map.reversed[a]) volume.affine[r][3] += (sides[a] - 1) * stored_affine[r][s];
      square += stored_affine[r][s] * stored_affine[r][s];
    }
    spacing[a] = static_cast<float>(std::sqrt(square));
  }
  std::tie(volume.nx, volume.ny, volume.nz) = std::tie(sides[0], sides[1], sides[2]);
  std::tie(volume.sx, volume.sy, volume.sz) = std::tie(spacing[0], spacing[1], spacing[2]);
  volume.voxels.reserve(stored.size());
  for (int z = 0; z < sides[2]; ++z) {
    for (int y = 0; y < sides[1]; ++y) {
      const std::ptrdiff_t row = start + y * strides[1] + z * strides[2];
      for (int x = 0; x < sides[0]; ++x) volume.voxels.push_back(stored[row + x * strides[0]]);
    }
  }
  return volume;
}

}  // namespace

Volume read_nifti(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.ends_with(".nii") && !name.ends_with(".nii.gz")) {
    cannot_read(path, "a volume's name ends in .nii or .nii.gz; convert it to NIfTI");
  }
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored))
    cannot_read(path, "there is no such file; check the name");

  const QuietStderr quiet;
  nifti_set_debug_level(0);
  const NiftiImage image(nifti_image_read(path.c_str(), 0), nifti_image_free);
  if (!image) cannot_read(path, "it has no valid NIfTI header; copy it again from its source");
  const std::array<std::int64_t, 3> sides{image->nx, image->ny, image->nz};
  for (const std::int64_t side : sides) {
    if (side < 1 || side > max_side) {
      cannot_read(
          path, fmt::format("its header claims {} x {} x {} voxels; copy it again from its source",
                            sides[0], sides[1], sides[2]));
    }
  }
  if (image->nvox != sides[0] * sides[1] * sides[2]) {
    cannot_read(path, fmt::format("it holds {} volumes; extract one of them",
                                  image->nvox / (sides[0] * sides[1] * sides[2])));
  }
  if (image->nvox > max_voxels) {
    cannot_read(path,
                fmt::format("its {} voxels are more than the {} that are read; crop or reduce it",
                            image->nvox, max_voxels));
  }
  if (nifti_image_load(image.get()) != 0 || image->data == nullptr) {
    cannot_read(path, "its voxels are truncated or damaged; copy it again from its source");
  }
  std::vector<float> stored = voxel_values(*image, path);
  for (float& value : stored) {
    if (!std::isfinite(value)) value = 0;
  }
  const auto affine = stored_affine(*image);
  return reorient(
      stored, {static_cast<int>(sides[0]), static_cast<int>(sides[1]), static_cast<int>(sides[2])},
      affine, canonical_axes(affine, path));
}

bool same_grid(const Volume& a, const Volume& b) {
  if (a.nx != b.nx || a.ny != b.ny || a.nz != b.nz) return false;
  const double tolerance = 0.1 * std::min({a.sx, a.sy, a.sz});
  for (int corner = 0; corner < 8; ++corner) {
    const std::array<double, 4> voxel{(corner & 1) != 0 ? a.nx - 1.0 : 0.0,
                                      (corner & 2) != 0 ? a.ny - 1.0 : 0.0,
                                      (corner & 4) != 0 ? a.nz - 1.0 : 0.0, 1.0};
    double square = 0;
    for (int r = 0; r < 3; ++r) {
      double difference = 0;
      for (int c = 0; c < 4; ++c) difference += (a.affine[r][c] - b.affine[r][c]) * voxel[c];
      square += difference * difference;
    }
    if (!(std::sqrt(square) <= tolerance)) return false;
  }
  return true;
}

}  // namespace anaphase::io
