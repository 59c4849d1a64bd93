// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

namespace anaphase::test {

/// How often `action` calls operator new, on any thread. Calls from oneDNN's own code are left out:
/// each execution of one of its primitives makes small objects for the arguments.
int news_in(const std::function<void()>& action);

}  // namespace anaphase::test
