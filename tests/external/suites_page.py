#!/usr/bin/env python3
"""Compares docs/reference/suites.md with the results in a folder, or rewrites it if FAPI_GATEWAY_WRITE_DOCS is set.

The programs beside this one leave a file for each suite in the folder that FAPI_GATEWAY_SUITE_RESULTS names. What the page
has of a suite without a result, such as one that was left out, stays as it is.
"""

import json
import os
import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/suites.md"
HEADER = "| suite | version | cases | right | other | why |\n| --- | --- | --- | --- | --- | --- |\n"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: suites_page.py FOLDER")
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
    if not results:
        sys.exit(f"{sys.argv[1]} has no results")
    old = PAGE.read_text(encoding="utf-8")
    new = updated(old, results)
    if os.environ.get("FAPI_GATEWAY_WRITE_DOCS"):
        PAGE.write_text(new, encoding="utf-8")
    elif new != old:
        had, has = set(old.splitlines()), new.splitlines()
        print("docs/reference/suites.md is not what the suites say now; its new lines would be:")
        print(*(line for line in has if line not in had), sep="\n")
        sys.exit(1)
    print(f"ok: docs/reference/suites.md has the results of {len(results)} suites")


def updated(page, results):
    before, _, rest = page.partition(HEADER)
    table, *sections = re.split(r"^(?=## )", rest, flags=re.M)
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("|")}
    after_table = "\n".join(line for line in table.splitlines() if not line.startswith("|")).strip()
    by_title = {section.splitlines()[0].removeprefix("## "): section.strip() for section in sections}
    for result in results:
        title = result["suite"]
        rows[title] = row(result)
        if result.get("other"):
            by_title[title] = section(result)
        elif not result.get("page"):
            by_title.pop(title, None)
    parts = [after_table, *by_title.values()]
    return before + HEADER + "\n".join(rows.values()) + "\n\n" + "\n\n".join(filter(None, parts)) + "\n"


def row(result):
    other = result.get("other", {})
    differs = sum(map(len, other.values())) if "right" not in result else result["cases"] - result["right"]
    if "page" in result:
        why = f"[{result['page'].removesuffix('.md')}]({result['page']})"
    elif len(other) == 1:
        why = next(iter(other))
    else:
        why = f"[{len(other)} reasons](#{anchor(result['suite'])})" if other else ""
    return f"| {result['suite']} | {result['version']} | {result['cases']} | {result['cases'] - differs} | {differs} | {why} |"


def section(result):
    lines = [f"## {result['suite']}", "", "| why | count | cases |", "| --- | --- | --- |"]
    for why, cases in sorted(result["other"].items()):
        lines.append(f"| {cell(why)} | {len(cases)} | {', '.join(map(cell, cases))} |")
    return "\n".join(lines)


def cell(text):
    return text.replace("`", "").replace("|", "\\|")


def anchor(title):
    return re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    main()
