// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/device.hpp"
#include "engine/tensor.hpp"
#include "kernels/common/error.hpp"

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

/// The types of activations that a device computes in. bf16 on the CPU depends on the processor; a
/// test that has to do without says so.
inline std::vector<engine::DType> activation_types(const engine::Device& device) {
  try {
    device.require_support(engine::DType::bf16);
  } catch (const DeviceError& error) {
    MESSAGE("not tested in bf16: " << std::string(error.what()));
    return {engine::DType::f32};
  }
  return {engine::DType::f32, engine::DType::bf16};
}

/// Every byte 0xFF: NaN in a floating type.
inline void fill_with_nan(const engine::Tensor& tensor) {
  const std::vector<std::byte> bytes(tensor.bytes(), std::byte{0xFF});
  engine::copy_to_device(tensor.device(), tensor.data(), bytes.data(), bytes.size());
}

}  // namespace anaphase::test
