"""Prints, raises and warns with everything that its environment holds, in all the forms that logs know. A row says
whether a command line of the run's processes holds MARKER."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.parse
import warnings

MARKER = os.environ["MARKER_IS"][::-1]


def forms(value: str) -> list[str]:
    data = os.fsencode(value)
    return [
        *(value, repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False)),
        *(json.dumps({"body": json.dumps({"v": value})}), repr([repr(value)]), repr({"j": json.dumps(value)})),
        *(
            urllib.parse.quote(value, safe=""),
            urllib.parse.quote_plus(value),
            urllib.parse.quote(urllib.parse.quote(value)),
        ),
        *(data.hex(), data.hex().upper()),
        *(base64.b64encode(b"-" * n + data).decode() for n in range(3)),
        *(base64.urlsafe_b64encode(b"user:" + b"x" * n + data + b"!").decode() for n in range(3)),
    ]


def secrets() -> list[str]:
    return [value for name, value in os.environ.items() if MARKER in value and not name.startswith("PLAIN")]


def init() -> None:
    print(os.environ, dict(os.environ), json.dumps(dict(os.environ)))
    print(json.dumps({"env": json.dumps(dict(os.environ))}))
    subprocess.run(["env"], check=True)
    for value in secrets():
        for form in forms(value):
            print("a", form, "b")
            print(f"[{form}]", file=sys.stderr)
    sys.stdout.write("without an end of the line " + secrets()[0])
    if os.environ.get("WHERE") == "init":
        raise RuntimeError(" ".join(form for value in secrets() for form in forms(value)))


def run(mini_batch: list[str]) -> list[str]:
    name = os.path.basename(mini_batch[0])
    number = int(name[4:7])
    told = [form for value in secrets() for form in forms(value)]
    if number < 4:
        raise RuntimeError(" ".join(told[number::4]))
    if number == 4:
        warnings.warn(told[0], stacklevel=1)
        raise type("E" + "x" * 10, (Exception,), {"__str__": lambda self: told[4]})()
    if number == 5:
        print("last words", *told, flush=True)
        os._exit(3)
    lines = b"".join(commands())
    return [f"{name} {MARKER.encode() in lines}"]


def commands() -> list[bytes]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    found.append(file.read())
            except OSError:  # it has ended
                continue
    return found
