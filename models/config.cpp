// SPDX-License-Identifier: Apache-2.0
#include "models/config.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <toml++/toml.h>
#include <algorithm>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <sstream>
#include <type_traits>

#include "kernels/common/error.hpp"

namespace anaphase::models {
namespace {

/// What a value may be: an interval for numbers, a list for words.
struct Allowed {
  double low = 0, high = 0;
  std::vector<std::string> words = {};
};

/// Calls visit(section, name, field, allowed) for every key: the one list behind reading, writing
/// and checking.
template <class C, class Visit>
void visit_fields(C& c, Visit&& visit) {
  constexpr double many = 1e9;
  visit("data", "path", c.data.path, Allowed{});
  visit("data", "labels", c.data.labels, Allowed{});
  visit("data", "size", c.data.size, Allowed{8, 4096});
  visit("data", "classes", c.data.classes, Allowed{0, 255});
  visit("data", "augment", c.data.augment, Allowed{});
  visit("data", "jitter", c.data.jitter, Allowed{0, 1});
  visit("data", "held_out", c.data.held_out, Allowed{0, 0.9});
  visit("network", "architecture", c.network.architecture, Allowed{.words = {"unet", "plain"}});
  visit("network", "width", c.network.width, Allowed{8, 512});
  visit("network", "norm", c.network.norm, Allowed{.words = {"batch", "group"}});
  visit("network", "dropout", c.network.dropout, Allowed{0, 2});
  visit("diffusion", "schedule", c.diffusion.schedule,
        Allowed{.words = {"sigmoid", "linear", "cosine"}});
  visit("diffusion", "steps", c.diffusion.steps, Allowed{2, 100000});
  visit("diffusion", "empty_mask", c.diffusion.empty_mask,
        Allowed{.words = {"zeros", "background", "minus_one"}});
  visit("student", "count", c.student.count, Allowed{1, 2});
  visit("student", "denoising", c.student.denoising, Allowed{});
  visit("pretrain", "epochs", c.pretrain.epochs, Allowed{0, many});
  visit("pretrain", "learning_rate", c.pretrain.learning_rate, Allowed{0, 10});
  visit("pretrain", "balance", c.pretrain.balance, Allowed{0, many});
  visit("pretrain", "image_t_min", c.pretrain.image_t_min, Allowed{0, 99999});
  visit("rounds", "count", c.rounds.count, Allowed{0, 100});
  visit("rounds", "mode", c.rounds.mode, Allowed{.words = {"sequential", "independent"}});
  visit("rounds", "pseudo_label", c.rounds.pseudo_label, Allowed{.words = {"first", "mean"}});
  visit("rounds", "weight", c.rounds.weight, Allowed{0, many});
  visit("rounds", "reconstruction", c.rounds.reconstruction, Allowed{});
  visit("co_training", "unlabelled_weight", c.co_training.unlabelled_weight, Allowed{0, many});
  visit("co_training", "twin_weight", c.co_training.twin_weight, Allowed{0, many});
  visit("co_training", "confidence", c.co_training.confidence, Allowed{0, 1});
  visit("co_training", "teacher_average", c.co_training.teacher_average, Allowed{0, 0.999999});
  visit("co_training", "loss", c.co_training.loss, Allowed{.words = {"dice", "dice_ce"}});
  visit("training", "method", c.training.method, Allowed{.words = {"co-training", "supervised"}});
  visit("training", "epochs", c.training.epochs, Allowed{1, many});
  visit("training", "steps", c.training.steps, Allowed{0, many});
  visit("training", "batch", c.training.batch, Allowed{1, 4096});
  visit("training", "optimizer", c.training.optimizer, Allowed{.words = {"adamw", "sgd"}});
  visit("training", "learning_rate", c.training.learning_rate, Allowed{0, 10});
  visit("training", "schedule", c.training.schedule,
        Allowed{.words = {"constant", "step", "cosine"}});
  visit("training", "warmup", c.training.warmup, Allowed{0, 1});
  visit("training", "weight_decay", c.training.weight_decay, Allowed{0, 10});
  visit("training", "clip_norm", c.training.clip_norm, Allowed{0, many});
  visit("training", "seed", c.training.seed, Allowed{0, 9e18});
  visit("training", "precision", c.training.precision, Allowed{.words = {"f32", "tf32", "bf16"}});
  visit("training", "validations", c.training.validations, Allowed{0, many});
  visit("inference", "with", c.inference.with, Allowed{.words = {"students", "teacher"}});
  visit("inference", "steps", c.inference.steps, Allowed{1, 100000});
  visit("inference", "sampler", c.inference.sampler, Allowed{.words = {"ddim", "ddpm", "dpm"}});
  visit("inference", "draws", c.inference.draws, Allowed{1, 1000});
  visit("inference", "timestep", c.inference.timestep, Allowed{-1, 99999});
  visit("inference", "seed", c.inference.seed, Allowed{0, 9e18});
}

/// Assigns a TOML value, or throws an Error that says what the key takes.
template <class T>
void assign(const std::string& key, T& field, const toml::node& node, const Allowed& allowed,
            std::string_view origin) {
  std::string expected;
  if constexpr (std::is_same_v<T, bool>) {
    if (const auto value = node.value_exact<bool>()) return void(field = *value);
    expected = "true or false";
  } else if constexpr (std::is_same_v<T, std::string>) {
    expected = allowed.words.empty() ? "a text" : fmt::format("{}", fmt::join(allowed.words, ", "));
    const auto value = node.value_exact<std::string>();
    const auto& words = allowed.words;
    if (value && (words.empty() || std::find(words.begin(), words.end(), *value) != words.end()))
      return void(field = *value);
  } else {
    expected =
        fmt::format("{} from {} to {}", std::is_integral_v<T> ? "a whole number" : "a number",
                    allowed.low, allowed.high);
    using Value = std::conditional_t<std::is_integral_v<T>, std::int64_t, double>;
    const auto value = node.is_number() ? node.value<Value>() : std::nullopt;
    const auto number = static_cast<double>(value.value_or(0));
    if (value && number >= allowed.low && number <= allowed.high)
      return void(field = static_cast<T>(*value));
  }
  throw Error(fmt::format("{}: {} has to be {}", origin, key, expected));
}

void assign_key(Config& config, const std::string& key, const toml::node& node,
                std::string_view origin) {
  bool known = false;
  visit_fields(config,
               [&](const char* section, const char* name, auto& field, const Allowed& allowed) {
                 if (key != fmt::format("{}.{}", section, name)) return;
                 known = true;
                 assign(key, field, node, allowed, origin);
               });
  if (!known)
    throw Error(fmt::format("{}: unknown key '{}'; did you mean '{}'?", origin, key,
                            nearest(key, Config::keys())));
}

/// The line of the first character beyond ASCII outside comments and strings, where TOML has none,
/// or anywhere in a text with strings of several lines; 0 where there is none. toml++ 3.3 has
/// undefined behaviour on some of them.
int line_beyond_ascii(std::string_view toml) {
  if (constexpr std::string_view mark = "\xEF\xBB\xBF"; toml.starts_with(mark))
    toml.remove_prefix(mark.size());
  const auto has = [&](const char* part) { return toml.find(part) != std::string_view::npos; };
  const bool has_long_strings = has("\"\"\"") || has("'''");
  int line = 1;
  char inside = 0;  // ' or " of a string, # of a comment
  for (std::size_t i = 0; i < toml.size(); ++i) {
    const char c = toml[i];
    if (static_cast<unsigned char>(c) >= 0x80 && (inside == 0 || has_long_strings)) return line;
    if (c == '\n') {
      ++line;
      inside = 0;
    } else if (inside == 0) {
      if (c == '#' || c == '"' || c == '\'') inside = c;
    } else if (inside == '"' && c == '\\') {
      if (i + 1 < toml.size() && (toml[i + 1] == '"' || toml[i + 1] == '\\')) ++i;
    } else if (c == inside && c != '#') {
      inside = 0;
    }
  }
  return 0;
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const auto distance = [&](const std::string& other) {
    std::vector<std::size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), 0);
    for (std::size_t i = 0; i < word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i + 1;
      for (std::size_t j = 0; j < other.size(); ++j) {
        const std::size_t replace = diagonal + (word[i] != other[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replace, row[j] + 1, row[j + 1] + 1});
      }
    }
    return row.back();
  };
  return *std::min_element(
      candidates.begin(), candidates.end(),
      [&](const std::string& a, const std::string& b) { return distance(a) < distance(b); });
}

std::vector<std::string> Config::keys() {
  std::vector<std::string> keys;
  Config config;
  visit_fields(config, [&](const char* section, const char* name, auto&, const Allowed&) {
    keys.push_back(fmt::format("{}.{}", section, name));
  });
  return keys;
}

void Config::apply_preset(std::string_view name) {
  static const std::map<std::string, int, std::less<>> widths = {
      {"tiny", 16}, {"small", 32}, {"paper", 64}};
  const auto found = widths.find(name);
  if (found == widths.end())
    throw Error(fmt::format("unknown preset '{}': use tiny, small or paper", name));
  network.width = found->second;
}

void Config::set(std::string_view key, std::string_view value, std::string_view origin) {
  bool is_text = false;
  visit_fields(*this, [&](const char* section, const char* name, auto& field, const Allowed&) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(field)>, std::string>)
      is_text = is_text || key == fmt::format("{}.{}", section, name);
  });
  const bool has_quotes = value.starts_with('"') || value.starts_with('\'');
  toml::table table;
  try {
    if ((!is_text || has_quotes) && line_beyond_ascii(value) == 0)
      table = toml::parse(fmt::format("value = {}", value));
  } catch (const toml::parse_error&) {
  }
  if (table.empty()) table.insert_or_assign("value", std::string(value));
  assign_key(*this, std::string(key), *table.get("value"), origin);
}

void Config::read(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) throw Error(fmt::format("cannot read {}: check the path", file.string()));
  read_text((std::ostringstream() << stream.rdbuf()).str(), file.string());
}

void Config::read_text(std::string_view toml, std::string_view origin) {
  if (const int line = line_beyond_ascii(toml))
    throw Error(
        fmt::format("{}: a letter beyond ASCII outside quotes (line {}); put it into quotes "
                    "and run again",
                    origin, line));
  toml::table table;
  try {
    table = toml::parse(toml);
  } catch (const toml::parse_error& error) {
    throw Error(fmt::format("{}: {} (line {}); mend the file and run again", origin,
                            error.description(), error.source().begin.line));
  }
  for (const auto& [section, node] : table) {
    if (!node.is_table()) {
      assign_key(*this, std::string(section.str()), node, origin);
      continue;
    }
    for (const auto& [name, value] : *node.as_table())
      assign_key(*this, fmt::format("{}.{}", section.str(), name.str()), value, origin);
  }
}

std::string Config::to_toml() const {
  std::string text, open_section;
  visit_fields(*this,
               [&](const char* section, const char* name, const auto& field, const Allowed&) {
                 if (open_section != section) {
                   text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
                   open_section = section;
                 }
                 using Field = std::remove_cvref_t<decltype(field)>;
                 if constexpr (std::is_same_v<Field, std::string>) {
                   std::ostringstream quoted;
                   quoted << toml::value<std::string>(field);
                   text += fmt::format("{} = {}\n", name, quoted.str());
                 } else if constexpr (std::is_same_v<Field, double>) {
                   std::string number = fmt::format("{}", field);
                   if (number.find_first_of(".e") == std::string::npos) number += ".0";
                   text += fmt::format("{} = {}\n", name, number);
                 } else {
                   text += fmt::format("{} = {}\n", name, field);
                 }
               });
  return text;
}

int Config::size_multiple() const {
  return network.architecture == "unet" ? 8 : 16;
}

void Config::validate() const {
  if (data.size % size_multiple() != 0)
    throw Error(fmt::format("data.size {} does not fit the {} network: use a multiple of {}",
                            data.size, network.architecture, size_multiple()));
  if (network.width % 8 != 0)
    throw Error(
        fmt::format("network.width {} is not a multiple of 8: use 16, 32 or 64", network.width));
  if (pretrain.image_t_min >= diffusion.steps || inference.timestep >= diffusion.steps)
    throw Error(
        fmt::format("timesteps end at {}: lower pretrain.image_t_min and inference.timestep",
                    diffusion.steps - 1));
  if (inference.steps > diffusion.steps)
    throw Error(fmt::format("inference.steps {} exceeds diffusion.steps {}: use fewer steps",
                            inference.steps, diffusion.steps));
}

}  // namespace anaphase::models
