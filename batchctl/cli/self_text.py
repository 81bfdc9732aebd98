"""What `batchctl self` says to people: lines made of the dicts that its --json prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchctl.report.wording import plural, printable, size_text


def info_lines(found: Mapping[str, Any], *, packages: bool) -> list[str]:
    if not found["packaged"]:
        lines = [f"batchctl {found['version']}, runs from source with Python {found['python']}"]
        return lines + [f"  packages     those that are installed in {printable(found['prefix'])}"] * packages
    size = found["executable_bytes"]
    held = f"{size_text(found['tree_bytes'])}, {plural(found['tree_files'], 'file')}"
    lines = [
        f"batchctl {found['version']}, build {found['build_id']}",
        f"  executable   {printable(found['executable'])} ({'gone' if size is None else size_text(size)})",
        f"  unpacked in  {printable(found['tree'])} ({held})",
        f"  Python       {found['python']}",
        *(f"  {name.replace('_', ' '):<12} {printable(value)}" for name, value in found["build"].items()),
    ]
    if found["other_trees"]:
        others = f"{plural(len(found['other_trees']), 'tree')}, {size_text(found['other_trees_bytes'])}"
        lines.append(f"  beside it    {others}: `batchctl self clean` removes what is not in use")
    if packages:
        lines.append("  packages inside, besides the standard library:")
        lines += [f"    {name} {version}" for name, version in found["packages"].items()]
    return lines


def verification_lines(found: Mapping[str, Any]) -> list[str]:
    places = [printable(found[name]) for name in ("executable", "tree") if found[name] is not None]
    problems = found["problems"]
    if not problems:
        return [f"{place}: sound: every byte is what was built" for place in places]
    return [
        f"{' and '.join(places)}: damaged: {plural(len(problems), 'problem')}",
        *(f"  {printable(problem)}" for problem in problems),
        f"  fix: {found['fix']}",
    ]


def cleaning_lines(found: Mapping[str, Any]) -> list[str]:
    verb = "would remove" if found["dry_run"] else "removed"
    lines = [
        f"{verb} {printable(each['path'])} ({size_text(each['bytes'])}{', a half tree' if each['half'] else ''})"
        for each in found["removed"]
    ]
    lines += [f"kept {printable(path)}: in use" for path in found["kept_in_use"]]
    if len(found["removed"]) != 1:
        total = f"{plural(len(found['removed']), 'tree')}, {size_text(found['freed_bytes'])}"
        lines.append(f"{printable(found['root'])}: {verb} {total}")
    return lines
