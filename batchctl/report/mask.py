"""Keeps the values of variables out of logs, failures and notes: scripts print what they were given.

A value whose name sounds like a secret, or that is an address with a password in it, becomes `***` wherever it
stands. With any other variable of the spec (MODE=fast) that would blacken half of every log: its value becomes `***`
where it stands next to its name on one line, as in every dump of an environment.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterable, Mapping

MASK = b"***"
MIN_SECRET = 6  # shorter values would mask half of every line
_MIN_PART = 4  # of a secret that was cut
_LEFT_OUT = rb"\n\.\.\. \d+ characters left out \.\.\.\n"  # guest/failure.py

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|SAS|CONN(ECTION)?_?STR", re.IGNORECASE)
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s@]*:[^/\s@]+@")
_PARTS = (
    re.compile(r"://[^/\s@:]*:([^/\s@]+)@"),
    re.compile(r"(?:^|[;&?\s])(?:AccountKey|SharedAccessKey|Password|Pwd|sig) *= *([^;&\s]+)", re.IGNORECASE),
)
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")
_HALF = "[\ud800-\udc7f\udd00-\udfff]"
# Between a name and its value: `=`, `: `, `': '`, `', b'`, ` => "`; on one line.
_BETWEEN = rb"([^\w\r\n]{1,6}(?:b['\"])?)"
_LONGEST_BETWEEN = 8


def secret_values(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of `environment` that are secret by their names (KEY, TOKEN, SECRET, PASSW, CREDENTIAL, SAS,
    CONNECTION_STRING) or as addresses with a password in them."""
    return tuple(
        value for name, value in environment.items() if _SECRET_NAME.search(name) or _PASSWORD_IN_ADDRESS.search(value)
    )


def secret_parts(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What is secret by itself within values: passwords of addresses, keys and signatures of connection strings."""
    return tuple(part for value in environment.values() for pattern in _PARTS for part in pattern.findall(value))


class Mask:
    """Replaces secret values by `***`, and the values of `variables` where they follow their name.

    Values of several lines (PEM) are masked line by line; short ones only beside their name. `longest` is the most
    bytes that one replacement may take, 0 where there is nothing to mask.
    """

    def __init__(self, secrets: Iterable[str] = (), *, variables: Mapping[str, str] | None = None) -> None:
        given = {name: value for name, value in (variables or {}).items() if value}
        whole = [*secrets, *(value for value in given.values() if len(value.splitlines()) > 1)]
        lines = {line.strip() for secret in whole for form in _disguises(secret) for line in form.splitlines()}
        # Longest first, or a secret that is part of another would leave the rest of it readable.
        self._values = sorted((line for line in lines if len(line) >= MIN_SECRET), key=len, reverse=True)
        self._beside = [(_bytes(name), _pattern(name, value)) for name, value in given.items()]
        beside = [len(_bytes(name)) + _LONGEST_BETWEEN + max(map(len, _forms(value))) for name, value in given.items()]
        self.longest = max([*map(len, self._values[:1]), *beside], default=0)

    def applied(self, data: bytes) -> bytes:
        for name, pattern in self._beside:
            if name in data:
                data = pattern.sub(rb"\1\2" + MASK, data)
        for value in self._values:
            if value in data:
                data = data.replace(value, MASK)
        return data

    def text(self, text: str) -> str:
        """The same for text."""
        if not self.longest:
            return text
        data = self.applied(_bytes(text))
        cut = re.search(_LEFT_OUT, data)
        if cut is not None:
            head, tail = data[: cut.start()], data[cut.end() :]
            data = self._cut_through(head, at_end=True) + cut.group() + self._cut_through(tail, at_end=False)
        return data.decode(errors="surrogateescape")

    def _cut_through(self, data: bytes, *, at_end: bool) -> bytes:
        """The worker left the middle of a long message out, unmasked: the rest of a secret may stand beside the cut."""
        found = 0
        for value in self._values:
            for length in range(len(value) - 1, max(found, _MIN_PART - 1), -1):
                if data.endswith(value[:length]) if at_end else data.startswith(value[-length:]):
                    found = length
                    break
        if not found:
            return data
        return data[:-found] + MASK if at_end else MASK + data[found:]


def mask_of(environment: Mapping[str, str], given: Mapping[str, str]) -> Mask:
    """The mask of a worker: `environment` is all that it has, `given` what the spec says of it."""
    secret = {name: value for name, value in environment.items() if _SECRET_NAME.search(name)}
    return Mask((*secret_values(environment), *secret_parts(environment)), variables={**secret, **given})


def _bytes(text: str) -> bytes:
    """Half of a character that JSON escapes in two (`"\\ud83d"`) is no byte of a file name: it stays as its escape."""
    return re.sub(_HALF, lambda half: f"\\u{ord(half.group()):04x}", text).encode(errors="surrogateescape")


def _forms(value: str) -> tuple[bytes, ...]:
    """A value as it is and as dumps and addresses show it: Python's repr, JSON with and without escapes, encoded
    with percent signs in three ways. Longest first."""
    told = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    quoted = _quoted(value)
    told |= {quoted, quoted.replace("%2F", "/"), quoted.replace("%20", "+")}
    return tuple(sorted(map(_bytes, told), key=len, reverse=True))


def _disguises(value: str) -> tuple[bytes, ...]:
    """Those forms, and what logs of HTTP clients and nested dumps make of them: escaped once more, hexadecimal, base64
    wherever in a longer text it stood (what of its ends depends on its neighbours, a character each, stays)."""
    data = _bytes(value)
    once = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    twice = {form for text in once for form in (json.dumps(text)[1:-1], repr(text)[1:-1])}
    quoted = _quoted(value)
    for form in (quoted, quoted.replace("%2F", "/"), quoted.replace("%20", "+")):
        again = _quoted(form)
        lower = re.sub("%[0-9A-F]{2}", lambda found: found.group().lower(), form)
        twice |= {again, again.replace("%2F", "/"), lower}
    hidden = {data.hex().encode(), data.hex().upper().encode()}
    if len(data) >= MIN_SECRET:
        for before in range(3):
            middle = binascii.b2a_base64(bytes(before) + data, newline=False)
            middle = middle[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
            hidden |= {middle, middle.translate(bytes.maketrans(b"+/", b"-_"))}
    return (*_forms(value), *map(_bytes, twice), *hidden)


def _quoted(value: str) -> str:
    """Percent-encoded as urllib.parse.quote does, which is not loaded for it."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in _bytes(value))


def _pattern(name: str, value: str) -> re.Pattern[bytes]:
    forms = b"|".join(re.escape(form) for form in _forms(value) if len(form.splitlines()) == 1)
    return re.compile(rb"(?<!\w)(%s)%s(?:%s)(?!\w)" % (re.escape(_bytes(name)), _BETWEEN, forms))
