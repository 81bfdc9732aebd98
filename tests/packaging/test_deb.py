"""The Debian package, made of a stand-in for the executable: its contents, its bytes, its life with dpkg."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from batchctl import __version__
from tests.packaging.stand_in import REPO, write_stand_in

BUILD = REPO / "packaging" / "deb" / "build.py"
pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="not run: there is no dpkg-deb here")


def build(executable: Path, to: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BUILD), "--executable", str(executable), "--out-dir", str(to)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def output_of(*argv: str | Path, environment: Mapping[str, str] | None = None) -> str:
    env = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8", **(environment or {})}
    return subprocess.run(list(map(str, argv)), env=env, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stand_in(tmp_path_factory.mktemp("executable") / "batchctl")


@pytest.fixture(scope="module")
def package(executable: Path) -> Path:
    done = build(executable, executable.parent / "dist")
    assert done.returncode == 0, done.stderr
    return executable.parent / "dist" / f"batchctl_{__version__}_amd64.deb"


@pytest.fixture(scope="module")
def tree(package: Path, executable: Path) -> Path:
    """What is in it, unpacked."""
    folder = executable.parent / "tree"
    subprocess.run(["dpkg-deb", "-R", package, folder], check=True)
    return folder


def test_the_contents(package: Path) -> None:
    listed = [line.split(maxsplit=5) for line in output_of("dpkg-deb", "-c", package).splitlines()]
    found = {line[5].removeprefix("."): (line[0], line[1]) for line in listed}
    assert {owner for _, owner in found.values()} == {"root/root"}
    assert {mode for name, (mode, _) in found.items() if name.endswith("/")} == {"drwxr-xr-x"}
    doc = "/usr/share/doc/batchctl"
    files = {name: mode for name, (mode, _) in found.items() if not name.endswith("/")}
    plain, program = "-rw-r--r--", "-rwxr-xr-x"
    assert files == {
        "/usr/bin/batchctl": program,
        "/usr/bin/batchctl-cron": program,
        "/usr/lib/systemd/system/batchctl@.service": plain,
        "/usr/lib/systemd/system/batchctl@.timer": plain,
        "/usr/lib/sysusers.d/batchctl.conf": plain,
        "/usr/share/bash-completion/completions/batchctl": plain,
        "/usr/share/fish/vendor_completions.d/batchctl.fish": plain,
        "/usr/share/zsh/vendor-completions/_batchctl": plain,
        "/usr/share/lintian/overrides/batchctl": plain,
        "/usr/share/man/man1/batchctl.1.gz": plain,
        "/usr/share/man/man1/batchctl-cron.1.gz": plain,
        **{f"{doc}/{name}": plain for name in ("changelog.gz", "copyright", "licenses.gz", "sbom.cdx.json.gz")},
        **{f"{doc}/examples/{n}": plain for n in ("batchctl.crontab", "github-actions.yml", "gitlab-ci.yml")},
    }
    assert "/etc/batchctl/" in found
    assert {line[3] for line in listed} == {"2026-01-01"}


def test_the_fields(package: Path) -> None:
    fields = dict(line.split(": ", 1) for line in output_of("dpkg-deb", "-f", package).splitlines() if ": " in line)
    assert (fields["Package"], fields["Version"], fields["Architecture"]) == ("batchctl", __version__, "amd64")
    assert fields["Depends"] == "libc6 (>= 2.30)"
    assert fields["Maintainer"] == "The batchctl authors <noreply@batchctl.invalid>"
    assert int(fields["Installed-Size"]) > 30


def test_what_is_inside_is_the_executables_own(tree: Path, executable: Path) -> None:
    assert (tree / "usr/bin/batchctl").read_bytes() == executable.read_bytes()
    for shell, path in {
        "bash": "usr/share/bash-completion/completions/batchctl",
        "zsh": "usr/share/zsh/vendor-completions/_batchctl",
        "fish": "usr/share/fish/vendor_completions.d/batchctl.fish",
    }.items():
        assert (tree / path).read_text() == output_of(executable, "completion", shell)
    page = gzip.decompress((tree / "usr/share/man/man1/batchctl.1.gz").read_bytes()).decode()
    assert page == output_of(executable, "man")
    log = gzip.decompress((tree / "usr/share/doc/batchctl/changelog.gz").read_bytes()).decode()
    assert log.startswith(f"batchctl ({__version__}) unstable; urgency=medium\n\n  * ")
    assert log.endswith("\n -- The batchctl authors <noreply@batchctl.invalid>  Thu, 01 Jan 2026 00:00:00 +0000\n")
    listed = (tree / "DEBIAN/md5sums").read_text()
    checked = subprocess.run(["md5sum", "-c", "--quiet", "-"], input=listed, cwd=tree, text=True, capture_output=True)
    assert (checked.returncode, checked.stdout) == (0, "")
    assert len(listed.splitlines()) == sum(p.is_file() for p in tree.rglob("*")) - len(
        list((tree / "DEBIAN").iterdir())
    )


def test_two_builds_are_the_same_bytes(package: Path, executable: Path, tmp_path: Path) -> None:
    assert build(executable, tmp_path, TZ="Asia/Tokyo", COLUMNS="33").returncode == 0
    assert (tmp_path / package.name).read_bytes() == package.read_bytes()
    assert build(executable, tmp_path, SOURCE_DATE_EPOCH="1700000000").returncode == 0
    assert "2023-11-14" in output_of("dpkg-deb", "-c", tmp_path / package.name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "is not there: `make binary`", id="no executable"),
        pytest.param("#!/bin/sh\necho damaged >&2; exit 70\n", "ended with 70: damaged", id="a damaged one"),
        pytest.param(
            '#!/bin/sh\ncase $1 in --version) echo batchctl ../9 ;; self) echo "{\\"build\\": {\\"glibc\\": \\"2.30\\",'
            ' \\"source_date_epoch\\": \\"1\\"}}" ;; *) echo text ;; esac\n',
            "calls itself version '../9'",
            id="a version that is a path",
        ),
    ],
)
def test_a_package_is_not_made(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "batchctl"
    if text is not None:
        path.write_text(text)
        path.chmod(0o755)
    done = build(path, tmp_path / "dist")
    assert done.returncode == 1
    assert words in done.stderr
    assert not (tmp_path / "dist").exists()


def dpkg(root: Path, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    """dpkg on a system of its own: an empty folder. Its scripts run here and must look at DPKG_ROOT only."""
    words: Sequence[str | Path] = [
        *("dpkg", f"--root={root}", "--force-not-root,script-chrootless,depends,architecture", f"--log={root}/log"),
        *argv,
    ]
    return subprocess.run(
        list(map(str, words)),
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_runs_at_installation_touches_nothing_outside_dpkg_root() -> None:
    for name in ("postinst", "postrm"):
        text = (BUILD.parent / name).read_text()
        assert text.startswith("#!/bin/sh\n") and "\nset -e\n" in text
        assert re.findall(r"^ *(?:rm|mkdir|chown|chmod)\b.*", text, flags=re.MULTILINE) == (
            []
            if name == "postinst"
            else ['    rm -rf "${DPKG_ROOT:-}/var/cache/batchctl" "${DPKG_ROOT:-}/var/cache/batchctl-batchctl"']
        )
        subprocess.run([shutil.which("dash") or "sh", "-n", BUILD.parent / name], check=True)


def test_its_life_with_dpkg(package: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not run: dpkg changes owners, which only root may")
    test_what_runs_at_installation_touches_nothing_outside_dpkg_root()  # or this machine would be purged
    root = tmp_path / "root"
    for name in (
        "var/lib/dpkg/updates",
        "var/lib/dpkg/info",
        "var/cache/batchctl/tree",
        "var/cache/batchctl-batchctl",
        "var/lib/batchctl/results",
    ):
        (root / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    unpacked = dpkg(root, "--unpack", package)
    assert unpacked.returncode == 0, unpacked.stderr
    installed = root / "usr/bin/batchctl"
    assert installed.stat().st_mode & 0o7777 == 0o755
    assert output_of(installed, "--version") == f"batchctl {__version__}\n"
    assert dpkg(root, "--remove", "batchctl").returncode == 0
    assert (root / "var/cache/batchctl/tree").exists()
    removed = dpkg(root, "--purge", "batchctl")
    assert removed.returncode == 0, removed.stderr
    assert not installed.exists()
    assert not (root / "etc/batchctl").exists()
    assert not list((root / "var/cache").iterdir())
    assert (root / "var/lib/batchctl/results").exists()


def test_lintian_finds_no_error(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("not run: there is no lintian here")
    done = subprocess.run(["lintian", "--allow-root", package], capture_output=True, text=True, check=False)
    # The stand-in is a script, so the override for the static launcher matches nothing.
    errors = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:"))]
    assert [line for line in errors if "mismatched-override" not in line] == []
