// SPDX-License-Identifier: Apache-2.0
#include "io/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/page.hpp"
#include "io/svg.hpp"
#include "kernels/common/error.hpp"

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;  // tables keep the order of the file

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

std::string text_of(const fs::path& file) {
  const auto bytes = read_file(file);
  return {bytes.begin(), bytes.end()};
}

/// The object in the file; nothing where there is no such file or no object in it.
std::optional<ordered_json> object_in(const fs::path& file) {
  if (!fs::is_regular_file(file)) return std::nullopt;
  ordered_json object = ordered_json::parse(text_of(file), nullptr, false);
  if (!object.is_object()) return std::nullopt;
  return object;
}

double number(const ordered_json& object, const std::string& key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : not_a_number;
}

std::string string(const ordered_json& object, const std::string& key,
                   const std::string& otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

/// The list of objects under `key`; empty where there is none.
std::vector<ordered_json> objects(const ordered_json& object, const std::string& key) {
  std::vector<ordered_json> result;
  const auto found = object.find(key);
  if (found != object.end() && found->is_array())
    std::copy_if(found->begin(), found->end(), std::back_inserter(result),
                 [](const ordered_json& element) { return element.is_object(); });
  return result;
}

std::string show(double value) {
  return std::isnan(value) ? "–" : fmt::format("{:.4g}", value);
}

std::string show(const ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return show(value.get<double>());
  if (value.is_null()) return "–";
  if (!value.is_structured()) return value.dump();
  std::string list;
  for (const auto& [key, element] : value.items())
    list += (list.empty() ? "" : ", ") + (value.is_object() ? key + ": " : "") + show(element);
  return list;
}

/// Curves by name and then epoch, names in order of first appearance.
class Curves {
 public:
  void add(const std::string& name, double x, double y) {
    const auto found = std::find_if(curves_.begin(), curves_.end(),
                                    [&](const auto& curve) { return curve.first == name; });
    auto& points =
        found == curves_.end() ? curves_.emplace_back(name, Points{}).second : found->second;
    points[x] = y;
  }

  std::string chart(const std::string& title, const std::string& y_label, Scale scale) const {
    if (curves_.empty()) return "";
    LineChart chart{title, "epoch", y_label, scale, {}};
    for (const auto& [name, points] : curves_)
      chart.series.push_back({name, {points.begin(), points.end()}});
    return draw(chart);
  }

 private:
  using Points = std::map<double, double>;
  std::vector<std::pair<std::string, Points>> curves_;
};

struct Stage {
  std::string name;
  Curves loss, dice, entropy, class_use;

  Curves* curves_of(const std::string& key) {
    if (key.starts_with("loss")) return &loss;
    if (key.find("dice") != std::string::npos) return &dice;
    if (key == "mask_entropy") return &entropy;
    if (key.starts_with("class_use")) return &class_use;
    return nullptr;
  }
};

/// "loss_dice" -> "dice", "student_dice" -> "student", "pseudo_label_dice" -> "pseudo label".
std::string curve_name(std::string key) {
  if (key == "loss") return "total";
  if (key.starts_with("loss_")) {
    key.erase(0, 5);
  } else if (key.size() > 5 && key.ends_with("_dice")) {
    key.erase(key.size() - 5);
  }
  std::replace(key.begin(), key.end(), '_', ' ');
  return key;
}

struct Timing {
  std::string name;
  int count = 0;
  double seconds = 0.;
  std::string rest;  // the other values of the last line
};

/// What metrics.jsonl says.
class History {
 public:
  explicit History(const fs::path& file) {
    std::istringstream lines(text_of(file));
    for (std::string line; std::getline(lines, line);) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const ordered_json object = ordered_json::parse(line, nullptr, false);
      if (object.is_object()) {
        read(object);
      } else {
        ++unreadable_;
      }
    }
  }

  std::string charts() const {
    std::string page;
    for (const Stage& stage : stages_) {
      page += section(
          "Training: " + stage.name,
          "<div class=\"charts\">\n" + stage.loss.chart("Losses", "loss", Scale::automatic) +
              stage.dice.chart("Dice", "Dice", Scale::unit) +
              stage.entropy.chart("Mask entropy", "entropy", Scale::linear) +
              stage.class_use.chart("Class use", "share of pixels", Scale::unit) + "</div>\n");
    }
    if (stages_.empty()) page = sentence("metrics.jsonl holds no epochs yet.");
    if (unreadable_ > 0) {
      page +=
          sentence(fmt::format("{} of the lines of metrics.jsonl could not be read and {} left "
                               "out.",
                               unreadable_, unreadable_ == 1 ? "was" : "were"));
    }
    return page;
  }

  std::string timings() const {
    if (timings_.empty()) return sentence("The run recorded no timings.");
    std::vector<Row> rows{{"", "count", "seconds", "seconds each", "more"}};
    for (const Timing& timing : timings_) {
      rows.push_back({timing.name, std::to_string(timing.count), show(timing.seconds),
                      show(timing.seconds / timing.count), timing.rest});
    }
    return table(rows, "numbers");
  }

 private:
  void read(const ordered_json& object) {
    const std::string kind = string(object, "kind", "");
    const double seconds = number(object, "seconds");
    if (kind == "timing") {
      ordered_json rest = object;
      for (const char* key : {"kind", "name", "seconds"}) rest.erase(key);
      add_timing(string(object, "name", "unnamed"), seconds, show(rest));
    } else if (kind == "train" || kind == "validation") {
      const std::string stage = string(object, "stage", "unnamed stage");
      read_epoch(object, stage);
      if (kind == "train") add_timing("epochs of " + stage, seconds, "");
    }
  }

  void read_epoch(const ordered_json& object, const std::string& name) {
    const double epoch = number(object, "epoch");
    if (std::isnan(epoch)) return;
    auto stage = std::find_if(stages_.begin(), stages_.end(),
                              [&](const Stage& known) { return known.name == name; });
    if (stage == stages_.end()) {
      stages_.push_back({name, {}, {}, {}, {}});
      stage = std::prev(stages_.end());
    }
    for (const auto& [key, value] : object.items()) {
      Curves* curves = stage->curves_of(key);
      if (!curves) continue;
      if (value.is_array()) {
        const bool classes = curves == &stage->class_use;
        int index = classes ? 0 : 1;
        for (const ordered_json& element : value) {
          const std::string curve = classes ? fmt::format("class {}", index)
                                            : fmt::format("{} round {}", curve_name(key), index);
          curves->add(curve, epoch, element.is_number() ? element.get<double>() : not_a_number);
          ++index;
        }
      } else if (value.is_number() || value.is_null()) {
        curves->add(curve_name(key), epoch, value.is_null() ? not_a_number : value.get<double>());
      }
    }
  }

  void add_timing(const std::string& name, double seconds, std::string rest) {
    if (std::isnan(seconds)) return;
    auto timing = std::find_if(timings_.begin(), timings_.end(),
                               [&](const Timing& known) { return known.name == name; });
    if (timing == timings_.end()) {
      timings_.push_back({name, 0, 0., ""});
      timing = std::prev(timings_.end());
    }
    ++timing->count;
    timing->seconds += seconds;
    timing->rest = std::move(rest);
  }

  std::vector<Stage> stages_;
  std::vector<Timing> timings_;
  int unreadable_ = 0;
};

constexpr std::array<const char*, 4> score_keys{"dice", "jaccard", "hd95", "asd"};

std::string scores(const fs::path& file) {
  const auto object = object_in(file);
  if (!object) return sentence("There are no scores: scores.json is missing or cannot be read.");
  const Row heading{"", "Dice", "Jaccard", "HD95 (px)", "ASD (px)"};
  std::vector<Row> summary{heading, {"mean"}, {"standard deviation"}}, all{heading};
  const auto images = objects(*object, "per_image");
  for (const char* key : score_keys) {
    const double mean = number(*object, key);
    double squares = 0.;
    for (const ordered_json& image : images) squares += std::pow(number(image, key) - mean, 2);
    const auto n = double(images.size());
    summary[1].push_back(show(mean));
    summary[2].push_back(show(n < 2 ? not_a_number : std::sqrt(squares / (n - 1))));
  }
  Histogram histogram{"Dice by image", "Dice", "images", {}};
  for (const ordered_json& image : images) {
    all.push_back({string(image, "name", "")});
    for (const char* key : score_keys) all.back().push_back(show(number(image, key)));
    histogram.values.emplace_back(all.back()[0], number(image, "dice"));
  }
  return table(summary, "numbers") +
         sentence(fmt::format(
             "{} images. Scores are means over the foreground classes of an image, then over "
             "images. A class absent from truth and prediction scores Dice = Jaccard = 1 and "
             "HD95 = ASD = 0; one absent from exactly one of them scores Dice = Jaccard = 0 and "
             "HD95 = ASD = the image's diagonal.",
             show(number(*object, "n")))) +
         (images.empty() ? ""
                         : "<div class=\"charts\">" + draw(histogram) + "</div>\n" +
                               "<details><summary>All images</summary>" + table(all, "numbers") +
                               "</details>\n");
}

std::string base64(const std::vector<unsigned char>& bytes) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t rest = std::min<std::size_t>(3, bytes.size() - i);
    unsigned group = unsigned(bytes[i]) << 16;
    if (rest > 1) group |= unsigned(bytes[i + 1]) << 8;
    if (rest > 2) group |= bytes[i + 2];
    for (std::size_t k = 0; k < 4; ++k)
      result += k > rest ? '=' : digits[group >> (18 - 6 * k) & 63];
  }
  return result;
}

std::string samples(const fs::path& folder) {
  const auto index = object_in(folder / "index.json");
  if (!index) {
    return sentence("There are no pictures: samples/index.json is missing or cannot be read.");
  }
  std::string grid;
  for (const ordered_json& row : objects(*index, "rows")) {
    const double dice = number(row, "dice");
    grid += fmt::format("<div class=\"row\"><p>{}{}</p>\n", escape_markup(string(row, "name", "")),
                        std::isnan(dice) ? "" : ", Dice " + show(dice));
    for (const ordered_json& tile : objects(row, "tiles")) {
      const std::string title = escape_markup(string(tile, "title", ""));
      const fs::path name = string(tile, "file", "");
      // Only files of this very folder: a page must not carry anything else off.
      const bool usable = name == name.filename() && fs::is_regular_file(folder / name);
      grid += "<figure class=\"tile\">";
      if (usable) {
        grid += fmt::format("<img alt=\"{}\" src=\"data:image/png;base64,{}\">", title,
                            base64(read_file(folder / name)));
      }
      grid += fmt::format("<figcaption>{}{}</figcaption></figure>\n", title,
                          usable ? "" : " (the picture is missing)");
    }
    grid += "</div>\n";
  }
  return grid;
}

std::string manifest(const fs::path& file) {
  const auto object = object_in(file);
  if (!object) return sentence("manifest.json is missing or cannot be read.");
  std::vector<Row> rows{{"what", "value"}};
  for (const auto& [key, value] : object->items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', ' ');
    rows.push_back({name, show(value)});
  }
  return table(rows, "");
}

std::string config(const fs::path& file) {
  if (!fs::is_regular_file(file)) return sentence("config.toml is missing.");
  return "<details><summary>config.toml</summary><pre>" + escape_markup(text_of(file)) +
         "</pre></details>\n";
}

}  // namespace

void write_report(const fs::path& run) {
  if (!fs::is_directory(run)) {
    throw Error(run.string() + " is not a folder: give the folder of a training run");
  }
  const fs::path metrics = run / "metrics.jsonl";
  if (!fs::exists(metrics)) {
    throw Error(run.string() +
                " holds no metrics.jsonl: give the folder that was the --out of a training run");
  }
  const History history(metrics);
  const fs::path named = fs::absolute(run).lexically_normal();
  const std::string name = (named.has_filename() ? named : named.parent_path()).filename().string();
  write_file_atomically(
      run / "report.html",
      page(name, "A training run of Anaphase",
           section("Scores", scores(run / "scores.json")) +
               section("Pictures", samples(run / "samples")) + history.charts() +
               section("Timings", history.timings()) +
               section("The run", manifest(run / "manifest.json") + config(run / "config.toml"))));
}

}  // namespace anaphase::io
