// SPDX-License-Identifier: Apache-2.0
#include "apps/settings.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "engine/device.hpp"

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

void add_device(CLI::App& command, std::string& device) {
  command
      .add_option("--device", device,
                  "cpu, cuda or cuda:N (a CUDA device), auto (cuda where there is one, else cpu), "
                  "simt (the CUDA kernels on the processor: slow, for tests)")
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Machine");
}

void explain_device(const std::string& device) {
  if (device != "auto" || !kernels::has_cuda) return;
  const std::string reason = engine::why_no_cuda();
  if (!reason.empty()) fmt::print(stderr, "anaphase: on the CPU: {}\n", reason);
}

}  // namespace anaphase::apps
