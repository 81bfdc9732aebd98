"""What Slurm says that it gave us, against what was found. Pure.

Where Slurm confines its steps by cgroup the two agree and nothing is said. Where it does not (no task/cgroup plugin), a
job sees the whole machine and would take what belongs to other jobs: that is said, and nothing is changed, because the
variables may also be inherited from a job that this process has left.
"""

from __future__ import annotations

from collections.abc import Mapping

_MIB = 1 << 20
_SLACK = 1.02  # Slurm rounds to MiB and keeps a little for the node


def slurm_notes(environ: Mapping[str, str], *, cpus: int, memory_limit: int, gpus: int | None) -> tuple[str, ...]:
    """Mismatches, in words. `gpus`: None where the user hides them."""
    if "SLURM_JOB_ID" not in environ:
        return ()
    notes: list[str] = []
    given = _number(environ, "SLURM_CPUS_ON_NODE")
    per_task = _number(environ, "SLURM_CPUS_PER_TASK")
    if given is not None and given < cpus:
        notes.append(
            f"Slurm gave this job {given} cpus here (SLURM_CPUS_ON_NODE), {cpus} are open to it: say --workers"
        )
    elif per_task is not None and per_task > cpus:
        notes.append(f"Slurm gave each task {per_task} cpus (SLURM_CPUS_PER_TASK), {cpus} are open to this one")
    memory = _number(environ, "SLURM_MEM_PER_NODE")
    each = _number(environ, "SLURM_MEM_PER_CPU")
    if memory is None and each is not None and given is not None:
        memory = each * given
    if memory and memory_limit > memory * _MIB * _SLACK:  # 0 is the whole node
        found = memory_limit // _MIB
        notes.append(
            f"Slurm gave this job {memory} MiB of memory here, and no cgroup holds it to that: {found} MiB found"
        )
    cards = _number(environ, "SLURM_GPUS_ON_NODE")
    if cards is not None and gpus is not None and cards != gpus:
        notes.append(f"Slurm gave this job {cards} GPUs here (SLURM_GPUS_ON_NODE), {gpus} were found")
    return tuple(notes)


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else None
