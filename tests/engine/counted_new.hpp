// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

namespace anaphase::test {

/// How often `action` calls operator new, on any thread, in code of our own. Calls from oneDNN's
/// are left out: each execution of one of its primitives makes small objects for the arguments.
int news_in(const std::function<void()>& action);
/// Those of oneDNN's code too.
int all_news_in(const std::function<void()>& action);

}  // namespace anaphase::test
