// SPDX-License-Identifier: Apache-2.0
#include "io/svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>

namespace anaphase::io {
namespace {

// The drawing's box, in SVG units, and the plot's within it. The right margin holds the names.
constexpr double width = 690., height = 300.;
constexpr double left = 60., right = 485., top = 12., bottom = 250.;
constexpr int palette_size = 7;

bool plottable(double value) {
  return std::abs(value) < 1e100;
}

struct Axis {
  double low, high;
  bool logarithmic = false;
  std::vector<double> ticks{};

  double fraction(double value) const {
    const double f =
        logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
    return std::clamp(f, 0., 1.);
  }
};

/// The smallest of 1, 2, 5 times a power of ten that is at least `value`, or with `down` the
/// largest that is at most `value`; exact multiples stay as they are.
double round_to_125(double value, bool down = false) {
  const double power = std::pow(10., std::floor(std::log10(value)));
  double result = down ? power : 10. * power;
  for (double factor : {1., 2., 5.}) {
    const double candidate = factor * power;
    if (down && candidate <= value * (1. + 1e-9)) result = std::max(result, candidate);
    if (!down && candidate >= value * (1. - 1e-9)) result = std::min(result, candidate);
  }
  return result;
}

/// About five ticks; `outward` moves the ends to ticks.
Axis linear_axis(double low, double high, double smallest_step, bool outward) {
  if (!(high > low)) {
    const double margin = smallest_step > 0. ? smallest_step : low == 0. ? 1. : std::abs(low) / 2.;
    low -= margin;
    high += margin;
  }
  const double step = std::max(smallest_step, round_to_125((high - low) / 6.));
  Axis axis{low, high};
  if (outward) {
    axis.low = std::floor(low / step + 1e-9) * step;
    axis.high = std::ceil(high / step - 1e-9) * step;
  }
  for (double k = std::ceil(axis.low / step - 1e-9); k * step <= axis.high + 1e-9 * step; ++k)
    axis.ticks.push_back(k * step + 0.);  // never -0
  return axis;
}

Axis logarithmic_axis(double low, double high) {
  Axis axis{round_to_125(low, true), round_to_125(high), true};
  const double decades = std::log10(axis.high / axis.low);
  const double every = std::ceil(decades / 8.);  // decades a tick, where there are many
  for (double decade = std::floor(std::log10(axis.low)); std::pow(10., decade) <= axis.high * 1.001;
       decade += every) {
    for (double factor : {1., 2., 5.}) {
      const double tick = factor * std::pow(10., decade);
      const bool shown = factor == 1. || decades <= 2.5;
      if (shown && tick >= axis.low * 0.999 && tick <= axis.high * 1.001)
        axis.ticks.push_back(tick);
    }
  }
  return axis;
}

/// One drawing: collects the elements between <figure> and </figure>.
class Drawing {
 public:
  Drawing(const std::string& title, Axis x, Axis y) : x_(std::move(x)), y_(std::move(y)) {
    add("<figure class=\"chart\"><figcaption>{0}</figcaption>"
        "<svg viewBox=\"0 0 {1} {2}\" role=\"img\" aria-label=\"{0}\">\n",
        escape_markup(title), width, height);
  }

  template <typename... Values>
  void add(fmt::format_string<Values...> format, Values&&... values) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Values>(values)...);
  }

  double px(double x) const { return left + (right - left) * x_.fraction(x); }
  double py(double y) const { return bottom - (bottom - top) * y_.fraction(y); }

  void axes(const std::string& x_label, const std::string& y_label) {
    for (double tick : y_.ticks) {
      add("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/>", left, py(tick), right);
      add("<text class=\"end\" x=\"{}\" y=\"{:.1f}\">{:.6g}</text>\n", left - 8., py(tick) + 4.,
          tick);
    }
    for (double tick : x_.ticks) {
      add("<path class=\"axis\" d=\"M{:.1f} {}v5\"/>", px(tick), bottom);
      add("<text class=\"mid\" x=\"{:.1f}\" y=\"{}\">{:.6g}</text>\n", px(tick), bottom + 19.,
          tick);
    }
    add("<path class=\"axis\" d=\"M{} {}V{}H{}\"/>\n", left, top, bottom, right);
    add("<text class=\"mid\" x=\"{}\" y=\"{}\">{}</text>", (left + right) / 2., height - 8.,
        escape_markup(x_label));
    add("<text class=\"mid\" transform=\"translate(14 {}) rotate(-90)\">{}</text>\n",
        (top + bottom) / 2., escape_markup(y_label));
  }

  std::string finish() { return std::move(text_) + "</svg></figure>\n"; }

 private:
  std::string text_;
  Axis x_, y_;
};

std::string empty_chart(const std::string& title) {
  Drawing drawing(title, {0., 1.}, {0., 1.});
  drawing.add("<text class=\"mid\" x=\"{}\" y=\"{}\">no values</text>", width / 2., height / 2.);
  return drawing.finish();
}

/// Bytes of UTF-8 that begin a character.
bool begins_character(char byte) {
  return (byte & 0xC0) != 0x80;
}

std::string shorten(const std::string& name, int longest) {
  int characters = 0;
  for (std::size_t i = 0; i < name.size(); ++i)
    if (begins_character(name[i]) && ++characters > longest) return name.substr(0, i) + "…";
  return name;
}

void draw_line(Drawing& drawing, const Series& series, int color) {
  std::string path;
  bool joined = false;
  for (const auto& [x, y] : series.points) {
    if (plottable(y)) {
      // "h0" makes a lone point a dot of the line's width.
      path += fmt::format("{}{:.1f} {:.1f}{}", joined ? "L" : "M", drawing.px(x), drawing.py(y),
                          joined ? "" : "h0");
    }
    joined = plottable(y);
  }
  drawing.add("<g class=\"c{}{}\"><path class=\"line\" d=\"{}\"/>\n", color % palette_size,
              color < palette_size ? "" : " dashed", path);
  const std::size_t stride = series.points.size() / 200 + 1;  // enough to point at
  for (std::size_t i = 0; i < series.points.size(); i += stride) {
    const auto [x, y] = series.points[i];
    if (!plottable(y)) continue;
    drawing.add(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"><title>{}, {:.6g}: {:.4g}</title>"
        "</circle>",
        drawing.px(x), drawing.py(y), escape_markup(series.name), x, y);
  }
  drawing.add("</g>\n");
}

struct Label {
  int color;
  double end_x, end_y, y;  // of the line's last point; of the text
  std::string name, value;
};

/// Names at the right, in the order of the lines' ends, far enough apart to be read.
void draw_labels(Drawing& drawing, std::vector<Label> labels) {
  std::stable_sort(labels.begin(), labels.end(),
                   [](const Label& a, const Label& b) { return a.end_y < b.end_y; });
  const double distance = std::min(16., (height - 20.) / double(labels.size()));
  double lowest = top + 4.;
  for (Label& label : labels) {
    label.y = std::max(label.end_y, lowest);
    lowest = label.y + distance;
  }
  double highest = height - 12.;
  for (auto label = labels.rbegin(); label != labels.rend(); ++label) {
    label->y = std::min(label->y, highest);
    highest = label->y - distance;
  }
  for (const Label& label : labels) {
    drawing.add("<g class=\"c{}{}\"><path class=\"leader\" d=\"M{:.1f} {:.1f}L{} {:.1f}h10\"/></g>",
                label.color % palette_size, label.color < palette_size ? "" : " dashed",
                label.end_x + 3., label.end_y, right + 14., label.y);
    drawing.add("<text x=\"{}\" y=\"{:.1f}\"><title>{}</title>{} <tspan>{}</tspan></text>\n",
                right + 29., label.y + 4., escape_markup(label.name),
                escape_markup(shorten(label.name, 21)), label.value);
  }
}

}  // namespace

std::string draw(const LineChart& chart) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  double x_low = infinity, x_high = -infinity, y_low = infinity, y_high = -infinity;
  for (const Series& series : chart.series) {
    for (const auto& [x, y] : series.points) {
      if (!plottable(y)) continue;
      x_low = std::min(x_low, x);
      x_high = std::max(x_high, x);
      y_low = std::min(y_low, y);
      y_high = std::max(y_high, y);
    }
  }
  if (x_low > x_high) return empty_chart(chart.title);

  const bool logarithmic = chart.scale == Scale::automatic && y_low > 0. && y_high > 30. * y_low;
  const Axis y = logarithmic ? logarithmic_axis(y_low, y_high)
                 : chart.scale == Scale::unit
                     ? linear_axis(0., 1., 0., true)
                     : linear_axis(std::min(0., y_low), std::max(0., y_high), 0., true);
  Drawing drawing(chart.title, linear_axis(x_low, x_high, 1., false), y);
  drawing.axes(chart.x_label, chart.y_label + (logarithmic ? " (log)" : ""));
  std::vector<Label> labels;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const Series& series = chart.series[i];
    const auto last = std::find_if(series.points.rbegin(), series.points.rend(),
                                   [](const auto& point) { return plottable(point.second); });
    if (last == series.points.rend()) continue;
    draw_line(drawing, series, int(i));
    labels.push_back({int(i), drawing.px(last->first), drawing.py(last->second), 0., series.name,
                      fmt::format("{:.3g}", last->second)});
  }
  draw_labels(drawing, std::move(labels));
  return drawing.finish();
}

std::string draw(const Histogram& chart) {
  std::array<int, 20> bins{};
  std::vector<std::pair<std::string, double>> values;
  for (const auto& [name, value] : chart.values)
    if (std::isfinite(value)) values.emplace_back(name, std::clamp(value, 0., 1.));
  if (values.empty()) return empty_chart(chart.title);
  for (const auto& [name, value] : values) ++bins[std::min(int(value * 20. + 1e-9), 19)];

  Drawing drawing(chart.title, linear_axis(0., 1., 0., false),
                  linear_axis(0., *std::max_element(bins.begin(), bins.end()), 1., true));
  drawing.axes(chart.x_label, chart.y_label);
  drawing.add("<g class=\"c0\">");
  for (int bin = 0; bin < 20; ++bin) {
    if (bins[bin] == 0) continue;
    const double x = drawing.px(bin / 20.), y = drawing.py(bins[bin]);
    drawing.add(
        "<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">"
        "<title>{:.2f} to {:.2f}: {}</title></rect>",
        x + 1., y, drawing.px((bin + 1) / 20.) - x - 2., bottom - y, bin / 20., (bin + 1) / 20.,
        bins[bin]);
  }
  for (const auto& [name, value] : values) {
    drawing.add("<path class=\"mark\" d=\"M{:.1f} {}v-9\"><title>{}: {:.4g}</title></path>",
                drawing.px(value), bottom, escape_markup(name), value);
  }
  drawing.add("</g>\n");
  return drawing.finish();
}

const std::string_view chart_style = R"(
:root { --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b8588f; --c4: #b97f00; --c5: #3a9bd6; --c6: #666; }
@media screen and (prefers-color-scheme: dark) {
  :root { --c0: #4fa8e0; --c1: #f58b45; --c2: #35c99c; --c3: #e59cc6; --c4: #ecc04c; --c5: #a5d8f8; --c6: #aaa; }
}
.chart { margin: 0; break-inside: avoid; }
.chart figcaption { font-weight: 600; margin-bottom: .25rem; }
.chart svg { width: 100%; height: auto; font-size: 13px; overflow: visible; }
.chart text { fill: var(--text); }
.chart tspan { fill: var(--quiet); }
.chart .end { text-anchor: end; fill: var(--quiet); }
.chart .mid { text-anchor: middle; fill: var(--quiet); }
.chart .grid { stroke: var(--rule); }
.chart .axis { stroke: var(--quiet); fill: none; }
.chart .line { stroke: var(--c); stroke-width: 2; fill: none; stroke-linejoin: round; stroke-linecap: round; }
.chart .leader { stroke: var(--c); fill: none; }
.chart .dashed path { stroke-dasharray: 5 4; }
.chart circle { fill: var(--c); opacity: 0; }
.chart circle:hover { opacity: 1; }
.chart .bar { fill: var(--c); opacity: .75; }
.chart .mark { stroke: var(--text); stroke-width: 1.5; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); }
)";

std::string escape_markup(std::string_view text) {
  std::string result;
  for (char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

}  // namespace anaphase::io
