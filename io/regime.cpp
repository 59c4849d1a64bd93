// SPDX-License-Identifier: Apache-2.0
#include "io/regime.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "io/failure.hpp"
#include "kernels/common/philox.hpp"

namespace anaphase::io {
namespace {

// Random draws of one seed are numbered, so that the two choices made here are independent.
constexpr std::uint32_t labelled_draw = 0, held_draw = 1;

void shuffle(std::vector<std::string>& names, std::uint64_t seed, std::uint32_t draw) {
  kernels::PhiloxStream draws(seed, draw);
  for (std::size_t i = names.size(); i-- > 1;) {
    std::swap(names[i], names[draws.integer(0, static_cast<std::int32_t>(i + 1))]);
  }
}

[[noreturn]] void bad_share(std::string_view text) {
  throw Error(
      fmt::format("label share '{}' is neither a percentage, a fraction up to 1 nor a number of "
                  "images; write for example 10%, 0.1 or 9",
                  text));
}

/// The whole of `text` as a number.
template <class T>
T parse_number(std::string_view text, std::string_view shown) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) bad_share(shown);
  return value;
}

}  // namespace

LabelShare parse_label_share(std::string_view text) {
  LabelShare share;
  if (text.ends_with('%')) {
    share.fraction = parse_number<double>(text.substr(0, text.size() - 1), text) / 100;
  } else if (text.find('.') != text.npos) {
    share.fraction = parse_number<double>(text, text);
  } else {
    std::string_view number = text;
    for (const std::string_view unit : {" images", " image"}) {
      if (number.ends_with(unit)) number.remove_suffix(unit.size());
    }
    share.count = parse_number<std::size_t>(number, text);
    if (share.count == 0) share.fraction = 0;
  }
  if (!(share.fraction >= 0 && share.fraction <= 1)) bad_share(text);
  if (share.count == 0 && share.fraction == 0) {
    throw Error(fmt::format("label share '{}' leaves no labelled image; give a larger one", text));
  }
  return share;
}

std::size_t labelled_count(const LabelShare& share, std::size_t images) {
  if (images == 0) throw Error("there is no labelled training image; add masks to train/mask");
  if (share.count > images) {
    throw Error(
        fmt::format("{} labelled images are asked for, but there are only {} with a mask; ask "
                    "for fewer",
                    share.count, images));
  }
  // The subtraction keeps products such as 30 * 0.1, a hair above 3 in binary, at 3.
  const auto count = share.count > 0 ? share.count
                                     : static_cast<std::size_t>(std::ceil(
                                           static_cast<double>(images) * share.fraction - 1e-9));
  if (count == 0) {
    throw Error(fmt::format("a label share of {} leaves no labelled image of {}; give a larger one",
                            share.fraction, images));
  }
  return count;
}

std::vector<std::string> draw_labelled(std::vector<std::string> names, const LabelShare& share,
                                       std::uint64_t seed) {
  const std::size_t count = labelled_count(share, names.size());
  std::sort(names.begin(), names.end());
  shuffle(names, seed, labelled_draw);
  names.resize(count);
  std::sort(names.begin(), names.end());
  return names;
}

HoldOut hold_out(std::vector<std::string> labelled, double fraction, std::uint64_t seed) {
  const std::size_t n = labelled.size();
  std::sort(labelled.begin(), labelled.end());
  if (n < 2) return {std::move(labelled), {}};
  const auto wanted = static_cast<std::size_t>(std::llround(fraction * static_cast<double>(n)));
  const auto held = static_cast<std::ptrdiff_t>(std::clamp<std::size_t>(wanted, 1, n - 1));
  shuffle(labelled, seed, held_draw);
  HoldOut parts{{labelled.begin() + held, labelled.end()},
                {labelled.begin(), labelled.begin() + held}};
  std::sort(parts.train.begin(), parts.train.end());
  std::sort(parts.held.begin(), parts.held.end());
  return parts;
}

}  // namespace anaphase::io
