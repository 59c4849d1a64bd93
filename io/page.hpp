// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

// Parts of HTML pages that need no other file and no network, for light and dark screens and for
// paper. Texts are escaped here; contents are markup.

namespace anaphase::io {

using Row = std::vector<std::string>;

/// The first row is the heading. Cells are text. Of class "numbers", all columns but the first are
/// set flush right.
std::string table(const std::vector<Row>& rows, std::string_view style_class);

/// A heading and what is below it.
std::string section(std::string_view title, const std::string& content);

/// A paragraph of quiet text.
std::string sentence(std::string_view text);

/// The page, with a heading, a line below it, and the charts' style (io/svg.hpp).
std::string page(std::string_view title, std::string_view subtitle, const std::string& content);

}  // namespace anaphase::io
