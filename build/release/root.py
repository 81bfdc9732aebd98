"""The root that releases are built in: a Debian 11 with a compiler, OpenSSL 3 and CPython of our own making.

A root is made once and used for every build until what it is made of changes (`key`). Commands run in it in namespaces
of their own: what they mount and what they leave running is gone when they end, however they end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
INPUTS, TOOLCHAIN = HERE / "inputs.toml", HERE / "toolchain.sh"
MIRROR = "http://deb.debian.org/debian"
# A way out to the network is the host's business; nothing else of its environment reaches the root.
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ReleaseError(Exception):
    """The release cannot be built; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a root is made of, from inputs.toml and the environment (the variables are in docs/building.md).

    `key` changes when a root made of this would be another one. Where the packages come from is not part of it: they
    are pinned or their suite is at rest, and all are signed.
    """

    suite: str
    security: str
    components: str
    packages: tuple[str, ...]
    sources: Mapping[str, str]
    mirror: str
    security_mirror: str
    keyring: Path
    pgo: bool
    key: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Options:
        inputs = tomllib.loads(INPUTS.read_text(encoding="utf-8"))
        pgo = environment.get("PGO", "") not in ("", "0")
        parts = (INPUTS.read_bytes(), TOOLCHAIN.read_bytes(), str(pgo).encode())
        mirror = environment.get("RELEASE_MIRROR", MIRROR).rstrip("/")
        return cls(
            suite=inputs["suite"],
            security=inputs["security"],
            components=inputs["components"],
            packages=tuple(inputs["packages"]),
            sources=inputs["sources"],
            mirror=mirror,
            security_mirror=environment.get("RELEASE_SECURITY_MIRROR", f"{mirror}-security").rstrip("/"),
            keyring=Path(environment.get("RELEASE_KEYRING", "/usr/share/keyrings/debian-archive-keyring.gpg")),
            pgo=pgo,
            key=hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest(),
        )


def need(options: Options) -> None:
    """Raise ReleaseError naming everything that this machine lacks."""
    lacking = [
        f"the command {name}: apt-get install {package}"
        for name, package in (("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("chroot", "coreutils"))
        if shutil.which(name, path=os.environ.get("PATH", "") + ":" + PATH) is None
    ]
    if not options.keyring.is_file():
        lacking.append(f"{options.keyring}: apt-get install debian-archive-keyring, or name it with RELEASE_KEYRING")
    if os.geteuid() != 0:
        lacking.append("root's rights (chroot, mknod): run it as root, or in a container that has them")
    if lacking:
        raise ReleaseError("release: this machine lacks\n  " + "\n  ".join(lacking))


def run_inside(
    root: Path, command: Sequence[str], *, env: Mapping[str, str], net: bool, cwd: str = "/", log: Path | None = None
) -> None:
    """Run a command in the root with this environment and nothing else; raises ReleaseError when it fails.

    The mount, process and (unless `net`) network namespaces are its own and end with it: /proc need not be unmounted,
    and a build without a network cannot take anything that was not put there before. What it prints goes to `log`.
    """
    own = ["--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={root}/proc", *([] if net else ["--net"])]
    variables = [f"{name}={value}" for name, value in sorted({"PATH": PATH, "HOME": "/root", **env}.items())]
    inner = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', cwd, *command]
    found = {**os.environ, "PATH": os.environ.get("PATH", "") + ":" + PATH}
    whole = ["unshare", *own, "chroot", str(root), "/usr/bin/env", "-i", *variables, *inner]
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(log.open("ab")) if log else None
        both = subprocess.STDOUT if log else None
        ended = subprocess.run(whole, check=False, env=found, stdin=subprocess.DEVNULL, stdout=out, stderr=both)
    if ended.returncode != 0:
        raise ReleaseError(
            f"release: {' '.join(command)} in {root} ended with {ended.returncode}"
            + (f": its words are at the end of {log}" if log else "")
            + "; where it could not even start, this machine may forbid namespaces (a container needs CAP_SYS_ADMIN)"
        )


def ready(root: Path, options: Options) -> bool:
    """Is there a finished root made of exactly this?"""
    stamp = root / "stamp"
    return stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == options.key


def make(root: Path, options: Options) -> None:
    """Make the root, beside its place first; one that is cut off midway is never taken for a finished one."""
    part = root.with_name(root.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    print(f"release: debootstrap {options.suite} from {options.mirror} into {part}", flush=True)
    bootstrap = ["debootstrap", "--variant=minbase", "--force-check-gpg", f"--keyring={options.keyring}"]
    bootstrap += [f"--components={options.components}", options.suite, str(part), options.mirror]
    log = part.with_suffix(".log")
    with log.open("wb") as out:
        found = {**os.environ, "PATH": os.environ.get("PATH", "") + ":" + PATH}
        ended = subprocess.run(bootstrap, stdout=out, stderr=subprocess.STDOUT, check=False, env=found)
    if ended.returncode != 0:
        raise ReleaseError(f"release: debootstrap ended with {ended.returncode}: its words are in {log}")
    _configure(part, options)
    install = ["apt-get", "--quiet=2", "--no-install-recommends", "-o=Dpkg::Use-Pty=0", "--yes"]
    net = {
        "DEBIAN_FRONTEND": "noninteractive",
        **{name: os.environ[name] for name in PROXIES if name in os.environ},
    }
    for command in (["update"], ["dist-upgrade"], ["install", *options.packages]):
        run_inside(part, [*install, *command], env=net, net=True, log=log)
    shutil.copy(TOOLCHAIN, part / "toolchain.sh")
    sources = {"OPENSSL": options.sources["openssl"], "PYTHON": options.sources["python3.11"]}
    variables = {**net, **sources, "JOBS": str(os.cpu_count() or 1), "PGO": "1" if options.pgo else ""}
    run_inside(part, ["/bin/sh", "/toolchain.sh"], env=variables, net=True)
    run_inside(part, ["apt-get", "clean"], env=net, net=False)
    (part / "stamp").write_text(options.key + "\n", encoding="utf-8")
    shutil.rmtree(root, ignore_errors=True)
    part.rename(root)


def _configure(root: Path, options: Options) -> None:
    apt = root / "etc/apt"
    lines = [
        f"deb {options.mirror} {options.suite} {options.components}",
        f"deb {options.security_mirror} {options.security} {options.components}",
        f"deb-src {options.mirror} {options.sources['suite']} {options.components}",
    ]
    (apt / "sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # An archive of old versions serves old signatures; they are checked all the same.
    aged = 'Acquire::Check-Valid-Until "false";\nAPT::Sandbox::User "root";\n'
    (apt / "apt.conf.d/10release").write_text(aged, encoding="utf-8")
    if Path("/etc/resolv.conf").is_file():
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
