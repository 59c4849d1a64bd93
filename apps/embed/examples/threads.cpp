// SPDX-License-Identifier: Apache-2.0
// Eight threads with a session each on one model: threads MODEL [DEVICE]. Each segments a batch of
// two made-up images ten times, with gaps between their rows, and has to come to the same masks.

#include <algorithm>
#include <anaphase.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int thread_count = 8, batch = 2, runs = 10;

std::vector<unsigned char> segment(const anaphase::Model& model) {
  const int size = 4 * model.size_multiple(), channels = model.channels();
  // A processor's cores are shared out by running several sessions, not by splitting each run.
  anaphase::Session session(model, batch, size, size, "threads=1");
  const std::size_t row = size * channels + 5, image = size * row;
  std::vector<unsigned char> pixels(batch * image);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<unsigned char>(i * i / 7 + i);
  std::vector<unsigned char> masks(batch * size * size), first;
  for (int i = 0; i < runs; ++i) {
    session.run({pixels.data(), row, image}, masks.data());
    if (i == 0) first = masks;
    if (masks != first) throw std::runtime_error("two runs on the same images differ");
  }
  return masks;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 2) {
    std::fprintf(stderr, "usage: %s MODEL [DEVICE]\n", arguments[0]);
    return 2;
  }
  const anaphase::Model model(arguments[1], count > 2 ? arguments[2] : "auto");
  std::vector<std::vector<unsigned char>> masks(thread_count);
  std::vector<std::string> errors(thread_count);
  std::vector<std::thread> threads;
  for (int i = 0; i < thread_count; ++i)
    threads.emplace_back([&, i] {
      try {
        masks[i] = segment(model);
      } catch (const std::exception& error) {
        errors[i] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < thread_count; ++i) {
    if (errors[i].empty() && masks[i] != masks[0]) errors[i] = "two threads' masks differ";
    if (!errors[i].empty()) {
      std::fprintf(stderr, "%s\n", errors[i].c_str());
      return 1;
    }
  }
  const auto foreground = masks[0].size() - std::count(masks[0].begin(), masks[0].end(), 0);
  std::printf("%d threads on %s: %zu of %zu pixels are not background\n", thread_count,
              model.device().c_str(), static_cast<std::size_t>(foreground), masks[0].size());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
