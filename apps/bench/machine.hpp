// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

// What Linux says about the machine and this process (proc(5)).

namespace anaphase::apps::bench {

std::string processor_name();
/// As it was given, words in quotes where they need them.
std::string command_line();
/// The most memory that the process has held so far.
std::size_t peak_resident_bytes();
/// Since the process was started; the kernel counts in hundredths of a second.
double process_age_seconds();

}  // namespace anaphase::apps::bench
