// SPDX-License-Identifier: Apache-2.0
#include "models/config.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "kernels/common/error.hpp"

namespace anaphase::test {
using models::Config;

namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a configuration survives being written and read") {
  Config config;
  config.data.path = "a folder/with \"quotes\"";
  config.training.learning_rate = 0.0003;
  config.training.seed = 12345678901234567ULL;
  config.student.denoising = false;
  config.rounds.mode = "independent";
  const std::string text = config.to_toml();
  Config copy;
  copy.read_text(text, "text");
  CHECK(copy.to_toml() == text);
  CHECK(copy.training.seed == config.training.seed);
  CHECK(copy.data.path == config.data.path);
}

TEST_CASE("every key can be set to its default") {
  for (const std::string& key : Config::keys()) {
    CAPTURE(key);
    Config config;
    const std::string text = config.to_toml();
    const std::string section = key.substr(0, key.find('.')), name = key.substr(key.find('.') + 1);
    const std::size_t start = text.find("[" + section + "]");
    const std::size_t line = text.find("\n" + name + " = ", start);
    REQUIRE(line != std::string::npos);
    const std::size_t value = text.find(" = ", line) + 3;
    config.set(key, text.substr(value, text.find('\n', value) - value));
    CHECK(config.to_toml() == text);
  }
}

TEST_CASE("wrong keys and values are named") {
  Config config;
  const std::string unknown = message_of([&] { config.set("rounds.cuont", "3"); });
  CHECK(mentions(unknown, "rounds.cuont"));
  CHECK(mentions(unknown, "did you mean 'rounds.count'"));
  CHECK(mentions(message_of([&] { config.set("rounds.count", "many"); }), "a whole number"));
  CHECK(mentions(message_of([&] { config.set("rounds.count", "1.5"); }), "a whole number"));
  CHECK(mentions(message_of([&] { config.set("rounds.count", "-1"); }), "rounds.count"));
  CHECK(
      mentions(message_of([&] { config.set("rounds.mode", "both"); }), "sequential, independent"));
  CHECK(mentions(message_of([&] { config.set("student.denoising", "1"); }), "true or false"));
  CHECK(mentions(message_of([&] { config.apply_preset("huge"); }), "tiny, small or paper"));
  CHECK(mentions(message_of([&] { config.read_text("a = [", "run.toml"); }), "run.toml"));
  config.data.size = 100;
  CHECK(mentions(message_of([&] { config.validate(); }), "multiple of 8"));
}

TEST_CASE("whole numbers stand for real ones, words need no quotes") {
  Config config;
  config.set("training.learning_rate", "1");
  CHECK(config.training.learning_rate == 1.0);
  config.set("network.architecture", "plain");
  CHECK(config.network.architecture == "plain");
  config.set("network.architecture", "\"unet\"");
  CHECK(config.network.architecture == "unet");
}

TEST_CASE("letters beyond ASCII belong into quotes and comments") {
  Config config;
  config.data.path = "B\u00fccher/\u0263's";
  Config copy;
  copy.read_text(config.to_toml() + "# \u0263\n", "text");
  CHECK(copy.data.path == config.data.path);
  copy.read_text("\xEF\xBB\xBF[data]\npath = \"\u0263 \\\" \u0263\"\n", "text");
  CHECK(copy.data.path == "\u0263 \" \u0263");
  for (const char* text :
       {"[data]\nclasses = \u0263\n", "\u00e9 = 1", "[data]\npath = '''it's''' \u0263\n",
        "[data]\npath = \"a\\\\\" \u0263\n"}) {
    CAPTURE(text);
    CHECK(mentions(message_of([&] { copy.read_text(text, "text"); }), "beyond ASCII"));
  }
  CHECK(mentions(message_of([&] { copy.set("data.classes", "\u0263"); }), "a whole number"));
}

TEST_CASE("the nearest word has the fewest edits") {
  CHECK(models::nearest("lables", {"size", "labels", "path"}) == "labels");
  CHECK(models::nearest("epoch", {"steps", "epochs"}) == "epochs");
}

}  // namespace anaphase::test
