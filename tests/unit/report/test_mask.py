"""What is masked, and what is left readable."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest

from batchctl.report.logs import WorkerLog
from batchctl.report.mask import Mask, mask_of, secret_parts, secret_values


def test_which_values_are_secret() -> None:
    environment = {"AZURE_KEY": "1", "hf_token": "2", "DB_PASSWORD": "3", "BLOB_SAS_URL": "4", "PATH": "5", "USER": "6"}
    assert secret_values(environment) == ("1", "2", "3", "4")
    assert secret_values({"MY_CREDENTIALS": "7", "CLIENT_SECRET": "8"}) == ("7", "8")
    connections = {"BLOB_CONNECTION_STRING": "9", "SQL_CONNSTR": "10", "CONNECTIONS": "11", "STRAND": "12"}
    assert secret_values(connections) == ("9", "10")
    addresses = {"URL": "redis://:pw@host/0", "DB": "postgres://me:pw@host", "HOME": "https://host:80/@", "AT": "a@b"}
    assert secret_values(addresses) == ("redis://:pw@host/0", "postgres://me:pw@host")


def test_parts_of_values_are_secret_too() -> None:
    storage = "DefaultEndpointsProtocol=https;AccountName=lake;AccountKey=k3y/with+signs==;EndpointSuffix=core"
    environment = {
        "DB": "postgres://me:hunter2pass@host/db",
        "STORAGE": storage,
        "BUS": "Endpoint=sb://x/;SharedAccessKey = abcdef123=",
        "URL": "https://lake/x?sv=2020&SIG=abc%2Bdef%3D&se=1",
        "SQL": "Server=h;Pwd=longenough",
        "PATH": "/usr/bin:/bin",
        "PORT": "https://host:8080/a@b",
    }
    expected = ("hunter2pass", "k3y/with+signs==", "abcdef123=", "abc%2Bdef%3D", "longenough")
    assert secret_parts(environment) == expected
    masked = mask_of(environment, {}).text(f"AccountName=lake {' '.join(expected)} {storage}")
    assert masked == f"AccountName=lake {' '.join(['***'] * 5)} {storage.replace('k3y/with+signs==', '***')}"


def test_secrets_are_masked_as_addresses_write_them() -> None:
    secret = 'a+b/c=="é d'
    mask = mask_of({"API_KEY": secret}, {})
    for form in (quote(secret), quote(secret, safe=""), quote_plus(secret), urlencode({"k": secret})):
        assert mask.text(f"GET https://host/?k={form.removeprefix('k=')}&x=1") == "GET https://host/?k=***&x=1"


def test_masks_short_values_never_and_longer_ones_first() -> None:
    mask = Mask(["12345", "abcdef", "abcdefghij", "-----BEGIN-----\nMIIEvQ==\n-----END-----\n"])
    assert mask.applied(b"12345 abcdef abcdefghij") == b"12345 *** ***"
    assert mask.applied(b"MIIEvQ==\n") == b"***\n"


GIVEN = {
    "MODE": "fast",
    "N": "1",
    "EMPTY": "",
    "PATHS": "/data/a b:/c",
    "QUOTED": 'it\'s "so"\\n',
    "NAME": "ünïcode",
    "PEM": "first line\nsecond line\n",
}
DUMPS = {
    "dict": repr(GIVEN),
    "bytes": repr({name.encode(): value.encode() for name, value in GIVEN.items() if value.isascii()}),
    "items": repr(list(GIVEN.items())),
    "json": json.dumps(GIVEN),
    "json, indented": json.dumps(GIVEN, indent=4, ensure_ascii=False),
    "env": "".join(f"{name}={value}\n" for name, value in GIVEN.items()),
    "export": "".join(f'export {name}="{value}"\n' for name, value in GIVEN.items()),
    "print": "".join(f"{name} {value}\n" for name, value in GIVEN.items()),
    "arrow": "".join(f"{name} -> {value}\n" for name, value in GIVEN.items()),
    "progress bar": "\r".join(f"{name}: {value}" for name, value in GIVEN.items()),
}


@pytest.mark.parametrize("name", DUMPS)
def test_no_value_of_the_spec_survives_a_dump(name: str) -> None:
    masked = Mask(variables=GIVEN).text(DUMPS[name])
    for value in GIVEN.values():
        for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
            assert len(form) < 2 or form not in masked
    assert "first line" not in masked
    assert "second line" not in masked
    assert "MODE" in masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("it is fast, 1 of 1", "it is fast, 1 of 1"),
        ("MODE=fast N=1", "MODE=*** N=***"),
        ("MODE=faster N=10", "MODE=faster N=10"),
        ("MY_MODE=fast", "MY_MODE=fast"),
        ("MODE\nfast", "MODE\nfast"),
        ("MODE is fast", "MODE is fast"),
    ],
)
def test_words_that_happen_to_be_values_stay(text: str, masked: str) -> None:
    assert Mask(variables=GIVEN).text(text) == masked


DISGUISES = {
    "hexadecimal": lambda value: value.encode().hex(),
    "hexadecimal, upper": lambda value: value.encode().hex().upper(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64, one before": lambda value: base64.b64encode(b":" + value.encode()).decode(),
    "base64, two before": lambda value: base64.urlsafe_b64encode(b"u:" + value.encode() + b"tail").decode(),
    "JSON in JSON": lambda value: json.dumps({"body": json.dumps({"v": value})}),
    "repr of JSON": lambda value: repr(json.dumps([value])),
    "repr of repr": lambda value: repr([repr(value)]),
    "percent, twice": lambda value: quote(quote(value)),
    "percent, lower": lambda value: re.sub("%..", lambda found: found.group().lower(), quote(value, safe="")),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_a_secret_is_known_in_its_disguises(name: str) -> None:
    value = "s3cret/+=ü'\"\\end"
    told = Mask([value]).text(f"before {DISGUISES[name](value)} after")
    assert "***" in told
    plain = "s3cret/+=ü'\"\\end".encode()
    for piece in ("s3cret", plain[3:-3].hex(), base64.b64encode(plain).decode()[4:-4]):
        assert piece not in told
    assert told.startswith("before ")
    assert told.endswith(" after")


@pytest.mark.parametrize("at", range(2, 20, 3))
def test_a_secret_that_a_cut_went_through_leaves_no_part(at: int) -> None:
    secret = "abcdefghijklmnopqrstuv"
    mark = "\n... 99 characters left out ...\n"
    told = Mask([secret]).text(f"head {secret[:at]}{mark}{secret[-at:]} tail")
    if at < 4:
        assert told == f"head ab{mark}uv tail"  # too short to be told from other text
    else:
        assert told == f"head ***{mark}*** tail"


@pytest.mark.parametrize("half", ["\ud83d", "\ude00", "\udc7f", "\udd00"])
def test_half_a_character_is_told_as_its_escape_and_hides_nothing(half: str) -> None:
    told = Mask(["long-enough"]).text(f"label {half} of long-enough, \udcff")
    assert told == f"label \\u{ord(half):04x} of ***, \udcff"
    assert "long" not in Mask([f"long{half}enough"]).text(f"a long{half}enough b")


def test_mask_of_a_worker() -> None:
    mask = mask_of({"HOME": "/root", "A_KEY": "abc", "B_TOKEN": "long-enough", "MODE": "fast"}, {"MODE": "fast"})
    assert (
        mask.text("HOME=/root A_KEY=abc abc long-enough MODE=fast fast") == "HOME=/root A_KEY=*** abc *** MODE=*** fast"
    )
    assert mask_of({"\udcffKEY": "v\udcff"}, {}).applied(b"\xffKEY=v\xff") == b"\xffKEY=***"
    assert Mask().longest == 0
    assert Mask(variables={"A": ""}).longest == 0


def test_a_dump_in_pieces_is_masked_in_the_log(tmp_path: Path) -> None:
    """Progress bars between the lines, pieces of every size."""
    text = ("10%|#   |\r" + DUMPS["env"] + "20%|##  |\r" + DUMPS["dict"] + "\n").encode()
    for size in (1, 2, 3, 7, 50, len(text)):
        log = WorkerLog(tmp_path, size, incarnation=1, mask=Mask(variables=GIVEN))
        for at in range(0, len(text), size):
            log.feed(text[at : at + size])
        log.close()
        assert log.path is not None
        assert log.path.read_bytes() == Mask(variables=GIVEN).applied(text)


def test_a_secret_that_begins_with_another_is_masked_whole_in_pieces(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path, 0, incarnation=1, mask=Mask(("secret", "secret-and-more")))
    for piece in (b"a secret", b"-and-more b", b"\n"):
        log.feed(piece)
    log.close()
    assert log.tail(100) == "a *** b\n"
