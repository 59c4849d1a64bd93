// SPDX-License-Identifier: Apache-2.0
#include "io/slices.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>

#include "apps/commands.hpp"
#include "io/volume.hpp"

namespace anaphase::apps {
namespace {

struct SlicesOptions {
  std::filesystem::path volume, labels, out;
  std::string classes, axis = "axial";
  int every = 1;
};

/// "scans/ch2.nii.gz" -> "ch2".
std::string scan_name(const std::filesystem::path& file) {
  std::string name = file.filename().string();
  return name.substr(0, name.find('.', 1));
}

}  // namespace

void add_slices(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "slices",
      "Cut a scan and its labels (NIfTI, .nii or .nii.gz, on one grid) into a data set of pictures "
      "and masks, DIR/{train,val}/{image,mask}/NAME.png. Blocks of neighbouring slices stay "
      "together in train or in val.");
  const auto options = std::make_shared<SlicesOptions>();
  command->add_option("--volume", options->volume, "The scan")->required()->type_name("FILE");
  command->add_option("--labels", options->labels, "The label of every voxel of the scan")
      ->required()
      ->type_name("FILE");
  command->add_option("--out", options->out, "Folder to write, new or empty")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--classes", options->classes,
                   "Which labels make up which class, for example 1-90:1,91-116:2; all others are "
                   "background (0). Without it the labels are class ids already")
      ->type_name("MAP");
  command->add_option("--axis", options->axis, "Plane of the slices")
      ->check(CLI::IsMember({"axial", "coronal", "sagittal"}))
      ->capture_default_str();
  command->add_option("--every", options->every, "Take every N-th slice")
      ->type_name("N")
      ->capture_default_str();
  command->callback([options] {
    io::SliceOptions wanted;
    wanted.axis = io::parse_slice_axis(options->axis);
    wanted.every = options->every;
    if (!options->classes.empty()) wanted.classes = io::parse_class_map(options->classes);
    const io::SliceCounts made =
        io::write_slices(io::read_nifti(options->volume), io::read_nifti(options->labels),
                         scan_name(options->volume), options->out, wanted);
    fmt::print(
        "wrote {} slices ({} train, {} val, {} classes with background) to {}; left out {} with "
        "hardly any foreground and {} between train and val\n",
        made.train + made.val, made.train, made.val, made.classes, options->out.string(),
        made.without_foreground, made.gap);
  });
}

}  // namespace anaphase::apps
