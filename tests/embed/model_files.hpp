// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/embed/anaphase.h"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/small_model.hpp"

namespace anaphase::test {

/// Files of small models with initial weights, removed at the end.
class ModelFiles {
 public:
  /// The path of one with this configuration.
  std::string add(const models::Config& config, const models::DataFacts& facts = small_facts());
  std::string path(const std::string& name) const { return folder_ / name; }

 private:
  io::testing::TemporaryFolder folder_;
  int count_ = 0;
};

/// A configuration with one student and no teacher.
models::Config one_network();

struct CloseModel {
  void operator()(anaphase_model* model) const { anaphase_model_close(model); }
};
struct DestroySession {
  void operator()(anaphase_session* session) const { anaphase_session_destroy(session); }
};
using ModelHandle = std::unique_ptr<anaphase_model, CloseModel>;
using SessionHandle = std::unique_ptr<anaphase_session, DestroySession>;

/// Fail the running test where that fails.
ModelHandle open_model(const std::string& path, const std::string& device = "cpu");
SessionHandle create_session(const ModelHandle& model, int batch, int height, int width,
                             const char* options = nullptr);

/// `count` bytes that look like none of the others with another `seed`.
std::vector<std::uint8_t> some_pixels(std::size_t count, unsigned seed = 0);

}  // namespace anaphase::test
