// SPDX-License-Identifier: Apache-2.0
#include "apps/help.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>
#include <vector>

#include "models/config.hpp"

namespace anaphase::apps {
namespace {

constexpr std::size_t columns = 80, indent = 26;

/// Breaks lines between words; breaks that are in the text stay.
std::string wrap(const std::string& text, std::size_t width) {
  std::string wrapped;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!wrapped.empty()) wrapped += '\n';
    std::istringstream words(line);
    std::size_t column = 0;
    for (std::string word; words >> word;) {
      if (column > 0 && column + 1 + word.size() > width) {
        wrapped += '\n';
        column = 0;
      }
      if (column > 0) wrapped += ' ';
      wrapped += word;
      column += (column > 0) + word.size();
    }
  }
  return wrapped;
}

std::string first_sentence(const std::string& text) {
  std::size_t end = text.size();
  for (const char* mark : {". ", ": ", "; "}) end = std::min(end, text.find(mark));
  if (end == text.size() && text.ends_with('.')) --end;
  return text.substr(0, end);
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

}  // namespace

std::string HelpFormatter::make_help(const CLI::App* app, std::string name,
                                     CLI::AppFormatMode mode) const {
  return CLI::detail::find_and_replace(CLI::Formatter::make_help(app, std::move(name), mode),
                                       "\n\n\n", "\n\n");
}

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return wrap(app->get_description(), columns) + "\n\n";
}

std::string HelpFormatter::make_subcommand(const CLI::App* sub) const {
  std::ostringstream out;
  CLI::detail::format_help(out, sub->get_name(),
                           wrap(first_sentence(sub->get_description()), columns - 13), 13);
  return out.str();
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (option->get_type_size() == 0) return "";
  const bool many = option->get_expected_max() == CLI::detail::expected_max_vector_size;
  return " " + option->get_type_name() + (many ? "..." : "");
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  std::string text = option->get_description();
  if (option->get_required()) text += " (required)";
  if (!option->get_default_str().empty())
    text += fmt::format(" (default {})", option->get_default_str());
  return wrap(text, columns - indent);
}

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* innermost = &app;
  std::string name = "anaphase";
  for (auto chosen = app.get_subcommands(); !chosen.empty() && innermost->remaining().empty();
       chosen = innermost->get_subcommands()) {
    innermost = chosen.front();
    name += " " + innermost->get_name();
  }
  const CLI::App& command = *innermost;
  const bool is_in_command = command_names(command).empty();
  const std::string help = name + " --help";
  std::vector<std::string> left = command.remaining();
  // What follows an unknown option may be its value, so the option is the one to name.
  if (is_in_command)
    std::stable_partition(left.begin(), left.end(),
                          [](const std::string& word) { return word.starts_with('-'); });
  if (left.empty()) return fmt::format("{}; see `{}`", one_line(error.what()), help);

  const std::string word = left.front().substr(0, left.front().find('='));
  if (word.starts_with('-'))
    return fmt::format("unknown option '{}'; did you mean '{}'? See `{}`", word,
                       models::nearest(word, option_names(command)), help);
  if (!is_in_command)
    return fmt::format("unknown command '{}'; did you mean '{}'? See `{}`", word,
                       models::nearest(word, command_names(command)), help);
  return fmt::format("unexpected argument '{}'; see `{}`", word, help);
}

}  // namespace anaphase::apps
