// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "io/volume.hpp"

namespace anaphase::io {

enum class SliceAxis { axial, coronal, sagittal };

/// "axial", "coronal" or "sagittal"; an Error otherwise.
SliceAxis parse_slice_axis(std::string_view text);

/// The labels first..last become class `id`.
struct ClassRange {
  int first = 0;
  int last = 0;
  int id = 0;
};

/// Parses "1-90:1,91-116:2": ranges or single labels, each with its class id in 1..255. Labels that
/// no range names become class 0. Every id up to the largest must occur, and no label twice.
std::vector<ClassRange> parse_class_map(std::string_view text);

struct SliceOptions {
  SliceAxis axis = SliceAxis::axial;
  int every = 1;                      ///< take every so many slices
  std::vector<ClassRange> classes{};  ///< empty: the labels are class ids already (0..255)
  int block = 10;                     ///< neighbouring slices that go to the same part
  double val_share = 0.3;             ///< share of the blocks that go to val, in [0, 1)
  double min_foreground = 0.01;  ///< slices with a smaller share of labelled pixels are left out
};

struct SliceCounts {
  int train = 0;
  int val = 0;
  int without_foreground = 0;  ///< left out: too little foreground
  int gap = 0;                 ///< left out: a training slice beside a val block
  int classes = 0;             ///< with background
};

/// Writes a scan and its labels as a 2-D data set
/// ROOT/{train,val}/{image,mask}/NAME_AXIS_INDEX.png, where NAME is `name` and INDEX the slice's
/// position in the canonical volume.
///
/// The slices that have enough foreground are cut into blocks of `block` neighbours; blocks go to
/// train and val in turn, so that val makes up val_share of them and is spread over the scan. Where
/// a training block meets a val block, the training slice at the border is left out, so no training
/// slice is the neighbour of a val slice.
///
/// Intensities are scaled over the whole volume: its 0.5 % percentile becomes 0 and its 99.5 %
/// percentile 255. One voxel becomes one pixel, whatever its size in mm. Pictures stand upright:
/// axial with the front on top and coronal with the head on top, the patient's left on the left of
/// both; sagittal with the head on top and the front on the left. Masks hold class ids, or 0 and
/// 255 when there are two classes.
///
/// The folder `root` must be new or empty; it appears with its whole content or not at all.
SliceCounts write_slices(const Volume& volume, const Volume& labels, std::string_view name,
                         const std::filesystem::path& root, const SliceOptions& options);

}  // namespace anaphase::io
