// SPDX-License-Identifier: Apache-2.0
#include "io/volume.hpp"

#include <doctest/doctest.h>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/io/nifti_file.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace anaphase::io;
using namespace anaphase::io::testing;

namespace {

std::vector<float> counting(int count) {
  std::vector<float> values;
  values.reserve(count);
  for (int i = 0; i < count; ++i) values.push_back(static_cast<float>(i));
  return values;
}

float at(const Volume& v, int x, int y, int z) {
  return v.voxels[(z * v.ny + y) * v.nx + x];
}

std::string error_for(const TemporaryFolder& folder, const std::string& bytes,
                      const char* name = "a.nii") {
  write_bytes(folder / name, bytes);
  std::string message = error_of([&] { read_nifti(folder / name); });
  CHECK(contains(message, (folder / name).string()));
  return message;
}

}  // namespace

TEST_CASE("a canonical volume is read as it is") {
  const TemporaryFolder folder;
  NiftiHeader header{.sides = {3, 2, 4}};
  header.affine = {{{2, 0, 0, -5}, {0, 3, 0, 7}, {0, 0, 4, 1}}};
  write_bytes(folder / "a.nii", make_nifti<float>(header, counting(24)));
  const Volume volume = read_nifti(folder / "a.nii");
  CHECK(volume.nx == 3);
  CHECK(volume.ny == 2);
  CHECK(volume.nz == 4);
  CHECK(volume.sx == 2);
  CHECK(volume.sy == 3);
  CHECK(volume.sz == 4);
  CHECK(volume.voxels == counting(24));
  CHECK(volume.affine[1][3] == 7);
}

TEST_CASE("every voxel type, with slope and intercept") {
  const TemporaryFolder folder;
  const auto check = [&]<class T>(T, int code) {
    NiftiHeader header{.sides = {2, 2, 1}, .datatype = code, .slope = 0.5F, .intercept = -3};
    write_bytes(folder / "a.nii", make_nifti<T>(header, {0, 1, 100, 120}));
    CHECK(read_nifti(folder / "a.nii").voxels == std::vector<float>{-3, -2.5F, 47, 57});
  };
  check(std::uint8_t{}, 2);
  check(std::int16_t{}, 4);
  check(std::int32_t{}, 8);
  check(float{}, 16);
  check(double{}, 64);
  check(std::int8_t{}, 256);
  check(std::uint16_t{}, 512);
  check(std::uint32_t{}, 768);
  check(std::int64_t{}, 1024);
  check(std::uint64_t{}, 1280);

  NiftiHeader unscaled{.sides = {1, 1, 2}, .slope = 0, .intercept = 9};
  write_bytes(folder / "a.nii",
              make_nifti<float>(unscaled, {4, std::numeric_limits<float>::quiet_NaN()}));
  CHECK(read_nifti(folder / "a.nii").voxels == std::vector<float>{4, 0});
}

TEST_CASE("any storage order is turned to right, front, up") {
  // Stored axis 0 runs down, axis 1 to the left, axis 2 to the front.
  const TemporaryFolder folder;
  NiftiHeader header{.sides = {2, 3, 4}};
  header.affine = {{{0, -1, 0, 10}, {0, 0, 2, 20}, {-5, 0, 0, 30}}};
  write_bytes(folder / "a.nii", make_nifti<float>(header, counting(24)));
  const Volume volume = read_nifti(folder / "a.nii");
  REQUIRE(volume.nx == 3);
  REQUIRE(volume.ny == 4);
  REQUIRE(volume.nz == 2);
  CHECK(volume.sx == 1);
  CHECK(volume.sy == 2);
  CHECK(volume.sz == 5);
  for (int x = 0; x < 3; ++x) {
    for (int y = 0; y < 4; ++y) {
      for (int z = 0; z < 2; ++z) {
        const int i = 1 - z, j = 2 - x, k = y;  // where it is stored
        CHECK(at(volume, x, y, z) == static_cast<float>((k * 3 + j) * 2 + i));
        // The same voxel lies at the same place in the scanner under both descriptions.
        CHECK(volume.affine[0][0] * x + volume.affine[0][3] == doctest::Approx(10 - j));
        CHECK(volume.affine[1][1] * y + volume.affine[1][3] == doctest::Approx(20 + 2 * k));
        CHECK(volume.affine[2][2] * z + volume.affine[2][3] == doctest::Approx(30 - 5 * i));
      }
    }
  }
}

TEST_CASE("the qform counts when there is no sform, and neither is needed") {
  const TemporaryFolder folder;
  NiftiHeader header{.sides = {2, 1, 1}, .sform_code = 0, .qform_code = 1};
  header.quaternion = {0, 0, 1};  // half a turn about z: x to the left, y to the back
  write_bytes(folder / "q.nii", make_nifti<float>(header, {1, 2}));
  CHECK(read_nifti(folder / "q.nii").voxels == std::vector<float>{2, 1});
  header.qform_code = 0;
  write_bytes(folder / "n.nii", make_nifti<float>(header, {1, 2}));
  CHECK(read_nifti(folder / "n.nii").voxels == std::vector<float>{1, 2});
}

TEST_CASE("files that are no volume") {
  const TemporaryFolder folder;
  const NiftiHeader header{.sides = {3, 3, 3}};
  const std::string good = make_nifti<float>(header, counting(27));
  CHECK(contains(error_of([&] { read_nifti(folder / "none.nii"); }), "no such file"));
  CHECK(contains(error_of([&] { read_nifti(folder / "a.nrrd"); }), "ends in .nii"));
  CHECK(contains(error_for(folder, ""), "header"));
  CHECK(contains(error_for(folder, "hello"), "header"));
  CHECK(contains(error_for(folder, "hello", "a.nii.gz"), "header"));
  CHECK(contains(error_for(folder, good.substr(0, 200)), "header"));
  CHECK(contains(error_for(folder, good.substr(0, good.size() - 1)), "truncated"));
  CHECK(contains(error_for(folder, good.substr(0, 352)), "truncated"));

  NiftiHeader four = header;
  four.volumes = 5;
  CHECK(contains(error_for(folder, make_nifti<float>(four, counting(135))), "5 volumes"));
  NiftiHeader negative{.sides = {-3, 3, 3}};  // niftilib prints its opinion of this one
  const std::string printed = stderr_of([&] {
    CHECK(contains(error_for(folder, make_nifti<float>(negative, counting(27))), "header"));
  });
  CHECK(printed.empty());
  NiftiHeader huge{.sides = {32767, 32767, 32767}};
  CHECK(contains(error_for(folder, make_nifti<float>(huge, counting(27))), "voxels"));
  NiftiHeader colour = header;
  colour.datatype = 128;
  CHECK(contains(error_for(folder, make_nifti<float>(colour, counting(27))), "RGB24"));
  NiftiHeader flat = header;
  flat.affine = {{{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}}};
  CHECK(contains(error_for(folder, make_nifti<float>(flat, counting(27))), "singular"));
}

TEST_CASE("grids are the same up to a tenth of a voxel") {
  Volume a;
  a.nx = a.ny = a.nz = 5;
  a.affine = {{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}};
  Volume b = a;
  CHECK(same_grid(a, b));
  b.affine[0][3] = 0.05;
  CHECK(same_grid(a, b));
  b.affine[0][3] = 0.2;
  CHECK(!same_grid(a, b));
  b = a;
  b.affine[1][1] = 1.05;  // 0.2 mm off at the far corner
  CHECK(!same_grid(a, b));
  b = a;
  b.nz = 4;
  CHECK(!same_grid(a, b));
  b = a;
  b.affine[2][3] = std::numeric_limits<double>::quiet_NaN();
  CHECK(!same_grid(a, b));
}
