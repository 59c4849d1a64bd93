// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace anaphase::apps {

/// --help for a terminal of 80 columns: text is wrapped, defaults and requirements are words of the
/// description, and the list of subcommands shows the first sentence of each.
class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
  std::string make_description(const CLI::App* app) const override;
  std::string make_subcommand(const CLI::App* sub) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
};

/// One sentence for a command line that `app` could not parse. An option or a command that does not
/// exist is named with the nearest that does.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace anaphase::apps
