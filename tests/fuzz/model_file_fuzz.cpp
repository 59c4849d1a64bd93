// SPDX-License-Identifier: Apache-2.0
// Opens made-up model files by the C API and makes a session, which reads the weights. The first
// byte of an input says what the others are:
//   0  the whole file
//   1  four bytes, the length of its data, and its header; the data are zeros, so that what is
//      changed are headers and not weights
// Any status will do but ANAPHASE_FAILED, which stands for what nobody thought of.

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "apps/embed/anaphase.h"

namespace {

constexpr std::uint32_t most_data = 8 << 20;

std::string file_of(const std::uint8_t* input, std::size_t size) {
  if (size == 0) return {};
  const bool is_whole = *input++ != 1;
  --size;
  if (is_whole) return {reinterpret_cast<const char*>(input), size};
  std::uint32_t data_bytes = 0;
  if (size < sizeof data_bytes) return {};
  std::memcpy(&data_bytes, input, sizeof data_bytes);
  const std::uint64_t header_bytes = size - sizeof data_bytes;
  std::string file(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
  file.append(reinterpret_cast<const char*>(input) + sizeof data_bytes, header_bytes);
  return file.append(data_bytes % most_data, '\0');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  static const int file = memfd_create("model", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  const std::string content = file_of(input, size);
  if (ftruncate(file, 0) != 0 ||
      pwrite(file, content.data(), content.size(), 0) != static_cast<ssize_t>(content.size()))
    std::abort();
  char error[ANAPHASE_ERROR_SIZE];
  anaphase_model* model = nullptr;
  if (anaphase_model_open(path.c_str(), "cpu", &model, error, sizeof error) == ANAPHASE_FAILED)
    std::abort();
  const int side = anaphase_model_size_multiple(model);
  anaphase_session* session = nullptr;
  if (model && anaphase_session_create(model, 1, side, side, "steps=1,draws=1", &session, error,
                                       sizeof error) == ANAPHASE_FAILED)
    std::abort();
  anaphase_session_destroy(session);
  anaphase_model_close(model);
  return 0;
}
