// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "engine/parameters.hpp"
#include "io/safetensors.hpp"

namespace anaphase::models {

/// Puts a network's parameters and buffers into `file` as float32 under prefix + name, in PyTorch's
/// layout: convolution weights, [O, KH, KW, I] in memory, become [O, I, KH, KW].
void store(io::SafeTensors& file, const std::string& prefix, const engine::ParameterSet& set);

/// The inverse. Throws io::Unreadable naming the file and the tensor when one is missing or has
/// another shape (the file belongs to another network or preset).
void restore(io::SafeTensorsFile& file, const std::string& prefix, engine::ParameterSet& set);

/// Throws what `restore` would throw. The parameters may have no memory yet.
void require_all(const io::SafeTensorsFile& file, const std::string& prefix,
                 const engine::ParameterSet& set);

/// A flat float32 tensor as it is, for optimiser state.
void store_flat(io::SafeTensors& file, const std::string& name, const engine::Tensor& tensor);
void restore_flat(io::SafeTensorsFile& file, const std::string& name, const engine::Tensor& tensor);

}  // namespace anaphase::models
