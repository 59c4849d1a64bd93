// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <thread>

#include "tests/embed/model_files.hpp"

namespace anaphase::test {

// Also under ThreadSanitizer, which does not see the barriers of GCC's OpenMP: a thread each.
TEST_CASE("eight threads with eight sessions each on one model") {
  constexpr int threads = 8, sessions = 8, size = 16;
  ModelFiles files;
  const ModelHandle model = open_model(files.add(small_config()));
  const std::vector<std::uint8_t> pixels = some_pixels(size * size * 3);
  std::vector<std::uint8_t> expected(size * size);
  REQUIRE(anaphase_run_mask(create_session(model, 1, size, size, "threads=1").get(), pixels.data(),
                            0, 0, expected.data(), 0, 0) == ANAPHASE_OK);

  std::vector<int> wrong(threads, -1);
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t)
    running.emplace_back([&, t] {
      std::vector<SessionHandle> all;
      for (int s = 0; s < sessions; ++s) {
        anaphase_session* session = nullptr;
        anaphase_session_create(model.get(), 1, size, size, "threads=1", &session, nullptr, 0);
        all.emplace_back(session);
      }
      wrong[t] = 0;
      for (int run = 0; run < 3; ++run)
        for (const SessionHandle& session : all) {
          std::vector<std::uint8_t> mask(expected.size());
          const anaphase_status status =
              anaphase_run_mask(session.get(), pixels.data(), 0, 0, mask.data(), 0, 0);
          wrong[t] += status != ANAPHASE_OK || mask != expected;
        }
    });
  for (std::thread& thread : running) thread.join();
  CHECK(wrong == std::vector<int>(threads, 0));
}

TEST_CASE("a session may go from a thread to another") {
  ModelFiles files;
  const ModelHandle model = open_model(files.add(small_config()));
  const SessionHandle session = create_session(model, 1, 16, 16);
  const std::vector<std::uint8_t> pixels = some_pixels(16 * 16 * 3);
  std::vector<std::uint8_t> here(16 * 16), there(16 * 16);
  REQUIRE(anaphase_run_mask(session.get(), pixels.data(), 0, 0, here.data(), 0, 0) == ANAPHASE_OK);
  anaphase_status status = ANAPHASE_FAILED;
  std::thread([&] {
    status = anaphase_run_mask(session.get(), pixels.data(), 0, 0, there.data(), 0, 0);
  }).join();
  CHECK(status == ANAPHASE_OK);
  CHECK(here == there);
}

}  // namespace anaphase::test
