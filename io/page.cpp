// SPDX-License-Identifier: Apache-2.0
#include "io/page.hpp"

#include <fmt/format.h>

#include "io/svg.hpp"

namespace anaphase::io {
namespace {

constexpr std::string_view page_style = R"(
:root { color-scheme: light dark; --text: #1d2125; --quiet: #5c656e; --rule: #dfe3e7; --ground: #fff; --panel: #f5f7f8; }
@media screen and (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --quiet: #9aa4ae; --rule: #353b41; --ground: #16191c; --panel: #1f2327; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; }
p { max-width: 46rem; } .quiet { color: var(--quiet); margin-top: .25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
th { font-weight: 600; }
.numbers td:not(:first-child), .numbers th:not(:first-child) { text-align: right; padding: .3rem 0 .3rem 1.5rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); gap: 1.5rem 2rem; }
.row { display: flex; flex-wrap: wrap; gap: .5rem; margin-bottom: 1.25rem; break-inside: avoid; }
.row p { flex-basis: 100%; max-width: none; margin: 0; }
.tile { margin: 0; width: 7.5rem; font-size: .8rem; color: var(--quiet); }
.tile img { display: block; width: 100%; image-rendering: pixelated; background: var(--panel); }
summary { cursor: pointer; } details { margin-top: .75rem; }
pre { background: var(--panel); padding: 1rem; overflow: auto; font-size: .85rem; white-space: pre-wrap; }
@media print { body { padding: 0; font-size: 11px; } h2 { break-after: avoid; } }
)";

}  // namespace

std::string table(const std::vector<Row>& rows, std::string_view style_class) {
  std::string result = fmt::format("<table class=\"{}\">\n", style_class);
  for (const Row& row : rows) {
    const std::string_view tag = &row == &rows.front() ? "th" : "td";
    result += "<tr>";
    for (const std::string& cell : row)
      result += fmt::format("<{0}>{1}</{0}>", tag, escape_markup(cell));
    result += "</tr>\n";
  }
  return result + "</table>\n";
}

std::string section(std::string_view title, const std::string& content) {
  return fmt::format("<section><h2>{}</h2>\n{}</section>\n", escape_markup(title), content);
}

std::string sentence(std::string_view text) {
  return fmt::format("<p class=\"quiet\">{}</p>\n", escape_markup(text));
}

std::string page(std::string_view title, std::string_view subtitle, const std::string& content) {
  return fmt::format(
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<title>{0} – Anaphase</title>\n<style>{1}{2}</style>\n</head>\n<body>\n"
             "<header><h1>{0}</h1><p class=\"quiet\">{3}</p></header>\n",
             escape_markup(title), page_style, chart_style, escape_markup(subtitle)) +
         content + "</body>\n</html>\n";
}

}  // namespace anaphase::io
