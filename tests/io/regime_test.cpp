// SPDX-License-Identifier: Apache-2.0
#include "io/regime.hpp"

#include <doctest/doctest.h>
#include <algorithm>
#include <map>
#include <set>

#include "tests/io/temporary_folder.hpp"

using namespace anaphase::io;
using namespace anaphase::io::testing;

namespace {

std::vector<std::string> names(int count) {
  std::vector<std::string> result;
  result.reserve(count);
  for (int i = 0; i < count; ++i) result.push_back("image" + std::to_string(1000 + i));
  return result;
}

}  // namespace

TEST_CASE("label shares are parsed") {
  CHECK(parse_label_share("10%").fraction == doctest::Approx(0.1));
  CHECK(parse_label_share("0.1").fraction == doctest::Approx(0.1));
  CHECK(parse_label_share("2.5%").fraction == doctest::Approx(0.025));
  CHECK(parse_label_share("100%").fraction == 1);
  CHECK(parse_label_share("1.0").fraction == 1);
  CHECK(parse_label_share("9").count == 9);
  CHECK(parse_label_share("9 images").count == 9);
  CHECK(parse_label_share("1").count == 1);
  for (const char* text :
       {"", "%", "ten", "10 %x", "-1", "-5%", "101%", "1.5", "nan%", "9 pictures"}) {
    CHECK_MESSAGE(contains(error_of([&] { parse_label_share(text); }), "label share"), text);
  }
  for (const char* text : {"0", "0%", "0.0"}) {
    CHECK(contains(error_of([&] { parse_label_share(text); }), "no labelled image"));
  }
}

TEST_CASE("the number of labelled images is the ceiling") {
  const auto count = [](const char* share, std::size_t n) {
    return labelled_count(parse_label_share(share), n);
  };
  CHECK(count("10%", 85) == 9);
  CHECK(count("1%", 85) == 1);
  CHECK(count("20%", 85) == 17);
  CHECK(count("10%", 30) == 3);
  CHECK(count("0.1", 30) == 3);
  CHECK(count("7%", 100) == 7);
  CHECK(count("100%", 85) == 85);
  CHECK(count("9", 85) == 9);
  CHECK(contains(error_of([&] { count("86", 85); }), "only 85"));
  CHECK(contains(error_of([&] { count("10%", 0); }), "no labelled"));
}

TEST_CASE("the draw depends on the set of names and the seed alone") {
  std::vector<std::string> list = names(85);
  const LabelShare tenth = parse_label_share("10%");
  const auto first = draw_labelled(list, tenth, 1);
  CHECK(first.size() == 9);
  CHECK(std::is_sorted(first.begin(), first.end()));
  std::reverse(list.begin(), list.end());
  std::swap(list[3], list[60]);
  CHECK(draw_labelled(list, tenth, 1) == first);
  CHECK(draw_labelled(list, tenth, 2) != first);
  const auto fifth = draw_labelled(list, parse_label_share("20%"), 1);
  CHECK(std::includes(fifth.begin(), fifth.end(), first.begin(), first.end()));
}

TEST_CASE("the draw is pinned, so that published splits stay what they are") {
  CHECK(draw_labelled({"a", "b", "c", "d", "e", "f", "g", "h"}, parse_label_share("3"), 7) ==
        std::vector<std::string>{"c", "d", "e"});
}

TEST_CASE("every image is drawn about equally often") {
  std::map<std::string, int> drawn;
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    for (const auto& name : draw_labelled(names(10), parse_label_share("30%"), seed)) ++drawn[name];
  }
  CHECK(drawn.size() == 10);
  for (const auto& [name, count] : drawn) CHECK(std::abs(count - 900) < 140);  // 5.6 deviations
}

TEST_CASE("holding out parts the labelled images") {
  for (const int n : {2, 3, 9, 85}) {
    const HoldOut parts = hold_out(names(n), 0.2, 5);
    CHECK(!parts.held.empty());
    CHECK(!parts.train.empty());
    std::set<std::string> all(parts.train.begin(), parts.train.end());
    all.insert(parts.held.begin(), parts.held.end());
    CHECK(all.size() == static_cast<std::size_t>(n));
    CHECK(parts.train.size() + parts.held.size() == static_cast<std::size_t>(n));
  }
  CHECK(hold_out(names(85), 0.2, 5).held.size() == 17);
  CHECK(hold_out(names(85), 0.2, 5).held != hold_out(names(85), 0.2, 6).held);
  CHECK(hold_out(names(1), 0.2, 5).held.empty());
  CHECK(hold_out(names(1), 0.2, 5).train.size() == 1);
}
