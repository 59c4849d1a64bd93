// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>

namespace anaphase {

/// Every failure that a user can cause or cure. `what()` is one sentence that names the thing at
/// fault and the remedy; programs print it after "anaphase: " and exit with a non-zero status.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A device is not there, or cannot do what is asked of it.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// A device or the process has not enough memory.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

}  // namespace anaphase
