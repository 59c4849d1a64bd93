// SPDX-License-Identifier: Apache-2.0
#include "apps/settings.hpp"

#include <fmt/format.h>

namespace anaphase::apps {

CLI::Option* add_settings(CLI::App& command, std::vector<std::string>& settings) {
  return command
      .add_option("--set", settings,
                  "Set one key of the configuration, for example rounds.count=2; may be given many "
                  "times")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
}

void apply_settings(models::Config& config, const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) {
    const std::size_t sign = setting.find('=');
    if (sign == setting.npos)
      throw CLI::ValidationError(fmt::format(
          "--set takes key=value, not '{}', for example --set rounds.count=2", setting));
    config.set(setting.substr(0, sign), setting.substr(sign + 1));
  }
}

}  // namespace anaphase::apps
