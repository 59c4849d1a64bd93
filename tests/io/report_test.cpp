// SPDX-License-Identifier: Apache-2.0
#include "io/report.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "io/image.hpp"
#include "io/svg.hpp"
#include "tests/io/temporary_folder.hpp"

namespace {

using namespace anaphase::io;
using namespace anaphase::io::testing;
namespace fs = std::filesystem;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

int count(std::string_view text, std::string_view part) {
  int found = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

/// The text between the first `before` and the next `after`.
std::string between(const std::string& text, std::string_view before, std::string_view after) {
  const auto begin = text.find(before);
  REQUIRE(begin != text.npos);
  const auto from = begin + before.size();
  return text.substr(from, text.find(after, from) - from);
}

/// Whether every element that must be closed is, in the right order, and quotes within tags pair
/// up.
bool well_formed(const std::string& page) {
  std::vector<std::string> open;
  for (auto at = page.find('<'); at != page.npos; at = page.find('<', at)) {
    const auto end = page.find('>', at);
    if (end == page.npos) return false;
    const std::string tag = page.substr(at + 1, end - at - 1);
    at = end;
    if (count(tag, "\"") % 2 != 0) return false;
    const std::string name = tag.substr(0, tag.find_first_of(" \n"));
    if (name == "!DOCTYPE" || name == "meta" || name == "img" || tag.ends_with("/")) continue;
    if (name.starts_with("/")) {
      if (open.empty() || open.back() != name.substr(1)) return false;
      open.pop_back();
    } else {
      open.push_back(name);
    }
  }
  return open.empty();
}

std::string decode_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned group = 0;
  int bits = 0;
  for (char c : text) {
    if (c == '=') break;
    group = group << 6 | unsigned(digits.find(c));
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes += char(group >> bits & 255U);
    }
  }
  return bytes;
}

/// The page of a run folder with this metrics.jsonl and whatever else is in it already.
std::string page_of(const fs::path& run, std::string_view metrics) {
  write_bytes(run / "metrics.jsonl", metrics);
  write_report(run);
  const std::string page = read_bytes(run / "report.html");
  CHECK(well_formed(page));
  return page;
}

}  // namespace

TEST_CASE("line chart: points land where the axes say") {
  const std::string svg =
      draw(LineChart{"t", "x", "y", Scale::unit, {{"a", {{0., 0.}, {5., 0.5}, {10., 1.}}}}});
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  const std::string path = between(svg, "class=\"line\" d=\"", "\"");
  REQUIRE(std::sscanf(path.c_str(), "M%lf %lfh0L%lf %lfL%lf %lf", &x0, &y0, &x1, &y1, &x2, &y2) ==
          6);
  CHECK(x0 < x1);
  CHECK(y0 > y1);  // SVG's y grows downwards
  CHECK(std::abs(x0 + x2 - 2. * x1) < 0.2);
  CHECK(std::abs(y0 + y2 - 2. * y1) < 0.2);
  CHECK(contains(svg, "<title>a, 5: 0.5</title>"));
  for (const char* tick : {">0<", ">0.2<", ">0.8<", ">1<", ">10<"}) CHECK(contains(svg, tick));
  CHECK(well_formed(svg));
}

TEST_CASE("line chart: gaps, lone points, no points") {
  const auto line = [](std::vector<std::pair<double, double>> points) {
    return draw(LineChart{"t", "x", "y", Scale::linear, {{"a", std::move(points)}}});
  };
  const double infinite = std::numeric_limits<double>::infinity();
  const std::string gap = line({{1., 2.}, {2., 3.}, {3., not_a_number}, {4., infinite}, {5., 1.}});
  const std::string path = between(gap, "class=\"line\" d=\"", "\"");
  CHECK(count(path, "M") == 2);
  CHECK(count(path, "L") == 1);
  for (const auto& svg : {gap, line({{3., 0.7}}), line({{3., 0.}}), line({{0., -2.}, {1., -2.}})}) {
    CHECK(well_formed(svg));
    CHECK(!contains(svg, "nan"));
    CHECK(!contains(svg, "inf"));
    CHECK(!contains(svg, ">-0<"));
  }
  CHECK(contains(line({}), "no values"));
  CHECK(contains(line({{1., not_a_number}}), "no values"));
  CHECK(contains(draw(LineChart{"t", "x", "y", Scale::linear, {}}), "no values"));
}

TEST_CASE("line chart: a wide range of positive values is drawn logarithmically") {
  const auto chart = [](double low, double high) {
    return draw(LineChart{"t", "x", "loss", Scale::automatic, {{"a", {{0., low}, {1., high}}}}});
  };
  CHECK(contains(chart(0.01, 1.), "loss (log)"));
  CHECK(contains(chart(0.01, 1.), ">0.02<"));
  CHECK(contains(chart(1e-9, 1e6), ">1e-05<"));
  CHECK(!contains(chart(0.1, 1.), "(log)"));
  CHECK(!contains(chart(0., 100.), "(log)"));
  CHECK(!contains(chart(-1., 100.), "(log)"));
}

TEST_CASE("line chart: many series keep their names apart and within the drawing") {
  LineChart chart{"t", "x", "y", Scale::unit, {}};
  for (int i = 0; i < 12; ++i)
    chart.series.push_back({"series <" + std::to_string(i) + ">", {{0., 0.99}, {1., 0.99}}});
  const std::string svg = draw(chart);
  CHECK(well_formed(svg));
  double previous = 0.;
  int names = 0;
  for (auto at = svg.find("<tspan>"); at != svg.npos; at = svg.find("<tspan>", at + 1)) {
    const auto text = svg.rfind("<text", at);
    double x = 0., y = 0.;
    REQUIRE(std::sscanf(svg.c_str() + text, "<text x=\"%lf\" y=\"%lf\"", &x, &y) == 2);
    CHECK(y >= previous + 12.);
    CHECK(y < 300.);
    previous = y;
    ++names;
  }
  CHECK(names == 12);
  CHECK(contains(svg, "series &lt;11&gt;"));
}

TEST_CASE("histogram: bins, ends, values that are none") {
  const std::string svg = draw(Histogram{
      "t", "Dice", "images", {{"a", 0.}, {"b", 0.7}, {"c", 0.72}, {"d", 1.}, {"e", not_a_number}}});
  CHECK(well_formed(svg));
  CHECK(count(svg, "class=\"bar\"") == 3);
  CHECK(contains(svg, "0.70 to 0.75: 2"));
  CHECK(contains(svg, "0.95 to 1.00: 1"));
  CHECK(count(svg, "class=\"mark\"") == 4);
  CHECK(contains(draw(Histogram{"t", "x", "y", {}}), "no values"));
}

TEST_CASE("report: no run, no page") {
  const TemporaryFolder folder;
  CHECK(contains(error_of([&] { write_report(folder / "none"); }), "is not a folder"));
  write_bytes(folder / "report.html", "older");
  CHECK(contains(error_of([&] { write_report(folder.path()); }), "metrics.jsonl"));
  CHECK(read_bytes(folder / "report.html") == "older");
}

TEST_CASE("report: what is missing or broken is said, not fatal") {
  const TemporaryFolder folder;
  const std::string bare = page_of(folder.path(), "");
  for (const char* sentence :
       {"scores.json is missing", "samples/index.json is missing", "manifest.json is missing",
        "config.toml is missing", "holds no epochs yet", "recorded no timings"})
    CHECK(contains(bare, sentence));

  write_bytes(folder / "scores.json", "[1, 2");
  write_bytes(folder / "manifest.json", "[]");
  write_bytes(folder / "samples/index.json", R"({"rows": [3, {"tiles": {}, "name": 5}]})");
  const std::string broken = page_of(folder.path(), "nonsense\n[1]\n{\"kind\": \"train\"}\n{\"ki");
  CHECK(contains(broken, "scores.json is missing or cannot be read"));
  CHECK(contains(broken, "manifest.json is missing or cannot be read"));
  CHECK(contains(broken, "3 of the lines of metrics.jsonl could not be read"));
  write_bytes(folder / "scores.json", R"({"n": "x", "dice": null, "per_image": 3})");
  CHECK(contains(page_of(folder.path(), ""), "<td>–</td>"));
}

TEST_CASE("report: the page stands alone") {
  const TemporaryFolder folder;
  const std::string page = page_of(folder / "my <run>", R"({"kind":"train","epoch":1,"loss":1})");
  for (const char* reference : {"http", "<link", "<script", "@import", "url("})
    CHECK(!contains(page, reference));
  CHECK(contains(page, "<h1>my &lt;run&gt;</h1>"));
}

TEST_CASE("report: curves by stage, rounds, classes, timings") {
  const TemporaryFolder folder;
  const std::string page = page_of(folder.path(), R"(
{"kind":"train","stage":"pretrain","epoch":1,"loss":4.0,"loss_cycle":null,"mask_entropy":0.6,"class_use":[0.75,0.25],"seconds":1.5}
{"kind":"train","stage":"co-training","epoch":1,"loss":9.0,"seconds":2}
{"kind":"train","stage":"co-training","epoch":1,"loss":3.0,"seconds":2}
{"kind":"train","stage":"co-training","epoch":2,"loss":2.0,"seconds":2}
{"kind":"validation","stage":"co-training","epoch":2,"student_dice":0.625,"pseudo_label_dice":[0.25,0.375]}
{"kind":"timing","name":"sampling","seconds":0.5,"images":7}
)");
  const std::string pretrain = between(page, "Training: pretrain", "</section>");
  const std::string training = between(page, "Training: co-training", "</section>");
  CHECK(contains(pretrain, "<title>total, 1: 4</title>"));
  CHECK(contains(pretrain, "<title>class 0, 1: 0.75</title>"));
  CHECK(contains(pretrain, "<title>class 1, 1: 0.25</title>"));
  CHECK(contains(pretrain, "<title>mask entropy, 1: 0.6</title>"));
  CHECK(!contains(pretrain, ">Dice<"));
  CHECK(contains(training, "<title>total, 1: 3</title>"));  // the last line of an epoch counts
  CHECK(!contains(training, ": 9<"));
  CHECK(contains(training, "<title>student, 2: 0.625</title>"));
  CHECK(contains(training, "<title>pseudo label round 1, 2: 0.25</title>"));
  CHECK(contains(training, "<title>pseudo label round 2, 2: 0.375</title>"));
  const std::string timings = between(page, "<h2>Timings</h2>", "</section>");
  CHECK(contains(timings, "<td>epochs of co-training</td><td>3</td><td>6</td><td>2</td>"));
  CHECK(contains(timings, "<td>sampling</td><td>1</td><td>0.5</td><td>0.5</td><td>images: 7</td>"));
}

TEST_CASE("report: scores, pictures, manifest, config") {
  const TemporaryFolder folder;
  write_bytes(folder / "scores.json",
              R"({"n":2,"dice":0.6,"jaccard":0.5,"hd95":3,"asd":1,"per_image":[
                 {"name":"a.png","dice":0.5,"jaccard":0.4,"hd95":2,"asd":1},
                 {"name":"b.png","dice":0.7,"jaccard":0.6,"hd95":4,"asd":1}]})");
  write_bytes(folder / "manifest.json",
              R"({"parameter_count":12345,"labelled_images":["a","b"],"counts":{"train":8}})");
  write_bytes(folder / "config.toml", "name = \"<b>\" # & more\n");
  fs::create_directories(folder / "samples");
  for (const int width : {1, 2, 3}) {  // three remainders of base64
    Image image{width, 2, 1, std::vector<float>(2 * width, 0.5F)};
    write_png(folder / "samples" / (std::to_string(width) + ".png"), image);
  }
  write_bytes(folder / "secret.png", "secret");
  write_bytes(folder / "samples/index.json",
              R"({"rows":[{"name":"a.png","dice":0.5,"tiles":[
                 {"title":"image","file":"1.png"},{"title":"truth","file":"2.png"},
                 {"title":"teacher","file":"3.png"},{"title":"gone","file":"4.png"},
                 {"title":"outside","file":"../secret.png"}]}]})");
  const std::string page = page_of(folder.path(), "");
  CHECK(contains(page, "<td>mean</td><td>0.6</td><td>0.5</td><td>3</td><td>1</td>"));
  CHECK(contains(page, "<td>standard deviation</td><td>0.1414</td><td>0.1414</td><td>1.414</td>"));
  CHECK(contains(page, "<td>b.png</td><td>0.7</td>"));
  CHECK(contains(page, "<td>parameter count</td><td>12345</td>"));
  CHECK(contains(page, "<td>labelled images</td><td>a, b</td>"));
  CHECK(contains(page, "<td>counts</td><td>train: 8</td>"));
  CHECK(contains(page, "name = &quot;&lt;b&gt;&quot; # &amp; more"));
  CHECK(count(page, "<img") == 3);
  CHECK(count(page, "(the picture is missing)") == 2);
  for (const auto& [title, file] : {std::pair{"image", "samples/1.png"},
                                    {"truth", "samples/2.png"},
                                    {"teacher", "samples/3.png"}}) {
    const auto data =
        between(page, std::string("alt=\"") + title + "\" src=\"data:image/png;base64,", "\"");
    CHECK(decode_base64(data) == read_bytes(folder / file));
  }
}
