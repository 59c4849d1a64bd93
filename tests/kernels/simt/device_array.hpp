// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "kernels/simt/memory_check.hpp"

namespace anaphase::test {

/// Elements in the executor's global memory.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count)
      : count_(count), data_(static_cast<T*>(simt::allocate_global(count * sizeof(T)))) {
    std::memset(data_, 0, count * sizeof(T));
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    std::memcpy(data_, values.data(), count_ * sizeof(T));
  }
  ~DeviceArray() { simt::free_global(data_); }
  DeviceArray(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::vector<T> values() const { return {data_, data_ + count_}; }

 private:
  std::size_t count_;
  T* data_;
};

}  // namespace anaphase::test
