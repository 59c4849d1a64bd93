// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace anaphase::io {

/// Points in the order they are joined. Where y is NaN or infinite the line has a gap.
struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

enum class Scale {
  linear,    ///< from 0 (or the lowest value below it) to the highest value
  unit,      ///< from 0 to 1, so that charts compare; values outside are clipped
  automatic  ///< logarithmic if all values are positive and span a factor of 30, else linear
};

/// Lines over a counted quantity such as epochs.
struct LineChart {
  std::string title, x_label, y_label;
  Scale scale = Scale::linear;
  std::vector<Series> series;
};

/// A <figure> with an SVG drawing for an HTML page that includes `chart_style`. Every series is
/// named at its right end together with its last value, and every point says its value when pointed
/// at. A chart without values says so.
std::string draw(const LineChart& chart);

/// How values in [0, 1] are spread: bars of width 0.05, and on the axis one mark a value, which
/// says its name when pointed at.
struct Histogram {
  std::string title, x_label, y_label;
  std::vector<std::pair<std::string, double>> values;
};

/// Values that are not finite are left out; others are moved into [0, 1].
std::string draw(const Histogram& chart);

/// CSS of the charts: colours that colour-blind readers can tell apart, for light and dark screens
/// and for paper.
extern const std::string_view chart_style;

/// Text made safe between tags and within quoted attributes of HTML and SVG.
std::string escape_markup(std::string_view text);

}  // namespace anaphase::io
