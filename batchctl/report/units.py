"""A systemd service and timer for one job, as text. Pure: what is absolute, and who it runs as, is the caller's.

The same choices as packaging/systemd/batchctl@.service, where each has its reason; a test compares the two.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from batchctl.errors import UsageError
from batchctl.named_tuple import NamedTuple
from batchctl.report.notify import LEAVING_S
from batchctl.report.unit_words import command_word, line_text, path_word, program_word

MADE = "# Made by `batchctl systemd`"
_SPAN = re.compile(r"(\d+) *(minutes|minute|min|m|hours|hour|hr|h|days|day|d|weeks|week|w)")
_SPAN_S = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_CALENDAR = re.compile(r"[A-Za-z0-9*,.:/~ _+-]+")
_LONGEST_S = 366 * 86400

POLICY = (
    "Type=notify",
    "NotifyAccess=main",
    "WatchdogSec=3min",
    "WatchdogSignal=SIGKILL",
    "TimeoutStartSec=15min",
    "KillMode=mixed",
    "OOMPolicy=continue",
    "TasksMax=infinity",
    "Restart=on-failure",
    "RestartSec=30s",
    "RestartForceExitStatus=75",
    "RestartPreventExitStatus=1 2 3 4 5 6 7 8 69 70 130",
    "SuccessExitStatus=75",
)
LIMITS = ("StartLimitIntervalSec=10min", "StartLimitBurst=15")
_TMP = "PrivateTmp=yes"
HARDENING = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    _TMP,
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "LockPersonality=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures=native",
    "SystemCallFilter=~@clock @cpu-emulation @module @mount @obsolete @raw-io @reboot @swap",
    "SystemCallErrorNumber=EPERM",
    "PrivateDevices=no",
    "DevicePolicy=closed",
    "DeviceAllow=char-nvidia* rw",
    "DeviceAllow=char-drm rw",
    "DeviceAllow=char-kfd rw",
)


class JobUnit(NamedTuple):
    """What the units are made of. Paths are absolute; `environment_file` is a path in a unit's own words.

    `account` is "" for the manager's own (root, or the user of --user). `left_out`: names of variables that the job was
    given and that are not written down.
    """

    name: str
    title: str
    command: tuple[str, ...]
    folder: str
    out: str
    needs: tuple[str, ...]
    grace: float
    account: str
    user: bool
    environment_file: str
    left_out: tuple[str, ...] = ()
    state: str = ""  # the state directory, "" where it is in OUT

    @property
    def written(self) -> tuple[str, ...]:
        """The folders that the job writes to."""
        return (self.out, self.state) if self.state else (self.out,)


def service_text(unit: JobUnit) -> str:
    """The service. UsageError where a name cannot be written into one."""
    program, *words = unit.command
    lines = [
        f"{MADE}; made again, it is overwritten. Changes belong into `systemctl edit {unit.name}.service`.",
        "[Unit]",
        f"Description={line_text(f'batchctl: {unit.title} (scoring)')}",
        "Documentation=man:batchctl(1)",
        *([] if unit.user else ["Wants=network-online.target", "After=network-online.target"]),
        "RequiresMountsFor=" + " ".join(path_word(path) for path in (unit.folder, *unit.needs, *unit.written)),
        *LIMITS,
        "",
        "[Service]",
        f"WorkingDirectory={line_text(unit.folder)}",
        *_environment(unit),
        "ExecStart=" + " ".join([program_word(program), *(command_word(word) for word in words)]),
        *POLICY,
        "# The job's grace, and what is left to do after it.",
        f"TimeoutStopSec={int(unit.grace + LEAVING_S) + 30}s",
        *_confinement(unit),
        "",
        "[Install]",
        f"WantedBy={'default' if unit.user else 'multi-user'}.target",
    ]
    return "\n".join(lines) + "\n"


def _environment(unit: JobUnit) -> list[str]:
    lines = [
        "# Variables for batchctl (BATCHCTL_...) and for the script; secrets belong there, in a file of mode 0600."
    ]
    if unit.left_out:
        lines.append(f"# Given on the command line and not written here: {', '.join(map(_told, unit.left_out))}")
    return [*lines, f"EnvironmentFile=-{unit.environment_file}"]


def _told(name: str) -> str:
    return line_text(name).replace("%%", "%")


def _confinement(unit: JobUnit) -> list[str]:
    if unit.user:
        return ["CacheDirectory=batchctl", "NoNewPrivileges=yes"]
    return [
        *([f"User={unit.account}", "CapabilityBoundingSet="] if unit.account else []),
        # Two accounts cannot share one: systemd gives it to whoever starts last, and the launcher wants its own.
        f"CacheDirectory=batchctl{'-' + unit.account if unit.account else ''}",
        "CacheDirectoryMode=0700",
        "# All that the job may write to; a script that writes elsewhere needs a line of its own here.",
        "ReadWritePaths=" + " ".join(map(path_word, unit.written)),
        *_hardening(unit),
    ]


def _hardening(unit: JobUnit) -> list[str]:
    """PrivateTmp would hide a job that lies in /tmp from itself."""
    if any(f"{path}/".startswith(("/tmp/", "/var/tmp/")) for path in (unit.folder, *unit.written, *unit.needs)):
        return ["# No PrivateTmp=yes: the job itself lies below /tmp.", *(line for line in HARDENING if line != _TMP)]
    return list(HARDENING)


def timer_text(unit: JobUnit, *, every: str, calendar: str) -> str:
    """The timer, with exactly one of `every` (a checked span) and `calendar` given."""
    if calendar:
        when = [
            f"OnCalendar={line_text(calendar)}",
            "# A time that passed while the machine was off.",
            "Persistent=true",
        ]
    else:
        when = [
            "OnActiveSec=1min",
            "# After the end of the last run: two never overlap.",
            f"OnUnitInactiveSec={every}",
        ]
    lines = [
        f"{MADE}; made again, it is overwritten.",
        "[Unit]",
        f"Description={line_text(f'batchctl: {unit.title} (scoring)')}",
        "",
        "[Timer]",
        *when,
        "AccuracySec=30s",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"


def checked_span(text: str) -> str:
    """A span in systemd's words (`30min`, `1h`, `2d 4h`) as a timer takes it. UsageError for anything else."""
    parts = text.strip().replace(" ", "")
    found = _SPAN.findall(parts)
    seconds = sum(int(number) * _SPAN_S[word[0]] for number, word in found)
    if "".join(number + word for number, word in found) != parts or not 60 <= seconds <= _LONGEST_S:
        raise UsageError(
            f"no span of time between 1min and a year: {text!r}", where="--every", remedy="for example 30min, 1h, 2d 4h"
        )
    return " ".join(number + word for number, word in found)


def checked_calendar(text: str) -> str:
    """A calendar expression, as far as its alphabet; systemd-analyze calendar says what it means."""
    if not _CALENDAR.fullmatch(text) or not text.strip():
        raise UsageError(
            f"no calendar expression: {text!r}",
            where="--on-calendar",
            remedy="for example daily, Mon..Fri 02:30, *-*-01 04:00:00; systemd-analyze calendar explains one",
        )
    return text.strip()


def unit_folder(unit: JobUnit) -> str:
    """Where its manager looks for units that an administrator, or the user, has made."""
    return "~/.config/systemd/user" if unit.user else "/etc/systemd/system"


def install_lines(unit: JobUnit, files: Sequence[str]) -> list[str]:
    """What to type once the files (the service first) lie in `unit_folder`, a command each."""
    manager = "systemctl --user" if unit.user else "systemctl"
    started = files[-1]
    owned = f"install -d -o {shlex.quote(unit.account)}" if unit.account else "mkdir -p"
    state = [f"{owned} -m 700 {shlex.quote(unit.state)}"] if unit.state else []
    return [
        f"{owned} {shlex.quote(unit.out)}",
        *state,
        f"{manager} daemon-reload",
        f"{manager} enable --now {shlex.quote(started)}",
        f"{manager} status {shlex.quote(files[0])}",
    ]
