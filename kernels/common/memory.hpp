// SPDX-License-Identifier: Apache-2.0
#pragma once

// What devices there are, their memory, and copies between it and the host's.

#include <cstddef>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// Devices of the stream's kind that can be used: 0 where there is no driver or no device.
int device_count(const Stream& stream);

/// Whether kernels compute in the type: f64 is the reference's; bf16 on the CPU needs AVX-512.
bool computes_in(const Stream& stream, DType type);

/// At least `bytes`, aligned to 64 bytes or more; null where there is not enough.
void* allocate_memory(const Stream& stream, std::size_t bytes);
void free_memory(const Stream& stream, void* data);

/// Fills with zeros, in the order of the stream's calls.
void clear_memory(const Stream& stream, void* data, std::size_t bytes);

/// In the order of the stream's calls; have ended when they return.
void copy_to_device(const Stream& stream, void* to, const void* from, std::size_t bytes);
void copy_to_host(const Stream& stream, void* to, const void* from, std::size_t bytes);

/// `rows` rows of `row_bytes`, so many bytes apart, within the device's memory and in the order of
/// the stream's calls. What lies between the rows of `to` stays as it is.
void copy_rows(const Stream& stream, void* to, std::size_t to_stride, const void* from,
               std::size_t from_stride, std::size_t row_bytes, std::size_t rows);

/// Waits for the stream's calls. Throws Error for one that failed.
void synchronize(const Stream& stream);

}  // namespace anaphase::kernels
