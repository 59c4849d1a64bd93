// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "engine/device.hpp"
#include "engine/tensor.hpp"

namespace anaphase::test {

/// The GPUs of this build and machine; simt is one.
inline std::vector<engine::Device> gpus() {
  std::vector<engine::Device> all;
  if (kernels::has_simt) all.push_back(engine::Device::simt());
  if (engine::why_no_cuda().empty()) all.push_back(engine::Device::cuda());
  return all;
}

/// The processor and all GPUs.
inline std::vector<engine::Device> devices() {
  std::vector<engine::Device> all{engine::Device::cpu()};
  for (const engine::Device& gpu : gpus()) all.push_back(gpu);
  return all;
}

/// Every byte 0xFF: NaN in a floating type.
inline void fill_with_nan(const engine::Tensor& tensor) {
  const std::vector<std::byte> bytes(tensor.bytes(), std::byte{0xFF});
  engine::copy_to_device(tensor.device(), tensor.data(), bytes.data(), bytes.size());
}

}  // namespace anaphase::test
