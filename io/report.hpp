// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace anaphase::io {

/// Writes run/report.html: one page that needs no other file and no network, for screens and for
/// paper. It is made from what lies in the run folder:
///
///   metrics.jsonl       needed. One JSON object a line; "kind" says what it is:
///                         "train", "validation": "stage", "epoch" and values. Values whose key
///                           begins with "loss" become the stage's loss curves, those with "dice"
///                           in their key its Dice curves, "mask_entropy" and "class_use…" charts
///                           of their own. A list becomes one curve an element: one a class for
///                           class_use, one a round otherwise. The last line of an epoch counts.
///                         "timing": "name", "seconds" and other values, a row of the timing table
///                           (lines of one name are added up; "seconds" of training lines likewise)
///   manifest.json       an object, shown as a table
///   config.toml         shown as text
///   scores.json         "n", "dice", "jaccard", "hd95", "asd" and "per_image", a list of objects
///                       with "name" and the same scores
///   samples/index.json  {"rows": [{"name", "dice", "tiles": [{"title", "file"}]}]}; the files are
///                       PNG pictures beside it, which are copied into the page
///
/// All but the first may be missing or unreadable: the page then says so in their place. null
/// stands for a value that is not finite and leaves a gap. Throws Error if there is no run folder
/// or no metrics.jsonl, or if the page cannot be written; an older page then stays.
void write_report(const std::filesystem::path& run);

}  // namespace anaphase::io
