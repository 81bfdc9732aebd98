"""INPUT arguments -> stretches of items in plan order. The rules are written down in docs/plan.md.

An INPUT is a folder, a file, a glob, `@list` or `@-` / `-` (the list from standard input, handed in as bytes).
INPUTs follow each other as given; a file mentioned again later keeps its first place (encode.py drops the second).
Whatever is named outright (a file, a line of a list) must be a regular file: a typo should not become a failed item.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

from batchctl.errors import UsageError
from batchctl.model.job import Grouping
from batchctl.named_tuple import NamedTuple
from batchctl.plan.display import display_name
from batchctl.plan.lists import Block, Blocks, PathList, Run, absolute, first_mentions, gathered, runs
from batchctl.plan.look import CHUNK, LONGEST, SIZE, Part, mtimes_of
from batchctl.plan.lookers import Lookers
from batchctl.plan.patterns import Filters, Glob, is_glob
from batchctl.plan.stretch import Findings, Noticed, Stretch
from batchctl.plan.walk import OutGuard, Walk, look

_LONG = 1024  # bytes; no file system has longer names (255, most of them), so most need not be measured
_NO_SUCH = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


class InputRequest(NamedTuple):
    """What to list. `folder` is the current folder; `piped`: lists that can be read only once, by INPUT (`-`, a pipe).

    `sizes_up_to`: sizes and times are looked at only if the folders hold no more items than this (None: always).
    `preview`: all are looked at, and `Findings.unsized` tells that a listing without it would not have done so.
    """

    inputs: tuple[str, ...]
    folder: Path
    grouping: Grouping = Grouping.PATH
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    out: Path | None = None
    state: Path | None = None  # the state directory, no input either
    piped: Mapping[str, bytes] | None = None
    sizes_up_to: int | None = None
    preview: bool = False


class Listing:
    """One enumeration. `stretches` may be iterated once (close it if not to the end: it has child processes);
    `findings` are complete when it ends. `children` is as in Lookers. `meanwhile` is called again and
    again as files are found; what it raises ends the listing.

    Raises UsageError: an INPUT that does not exist or cannot be listed, that lies in OUT, a list naming what is not a
    regular file, a glob that matches nothing. No items at all is judged by the caller (`nothing`), which has counted.
    `roots`: the folder that the stretches of a source lie below; files named outright and lists have none.
    """

    def __init__(
        self,
        request: InputRequest,
        *,
        children: int | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        self.request = request
        self.findings = Findings()
        self.roots: dict[int, bytes] = {}
        self._filters = Filters(request.include, request.exclude)
        self._filtering = bool(request.include or request.exclude)
        self._folder = os.fsencode(request.folder)
        self._out = OutGuard.of(request.out, request.state)
        self._items = 0
        self._allowed: set[bytes] = set()  # folders known to lie outside OUT
        self._children = children
        self._lookers = Lookers(children=children)
        self._meanwhile = meanwhile

    def nothing(self) -> UsageError:
        """The refusal for a listing that gave no item."""
        where = ", ".join(display_name(given) for given in self.request.inputs)
        filters = str(self._filters)
        if self.findings.filtered:
            reason = f"{self.findings.filtered} file(s) turned away by {filters}"
        else:
            reason = "; ".join((*self.findings.notes(), *self.findings.warnings())) or "no files there"
        return UsageError(
            f"no input items: {reason}",
            where=where,
            remedy="check the folder" + (" and --include/--exclude" if filters else ""),
        )

    def stretches(self) -> Generator[Stretch, None, None]:
        try:
            yield from self._stretches()
        finally:
            self._lookers.close()

    def _stretches(self) -> Iterator[Stretch]:
        named: list[tuple[bytes, bytes]] = []  # neighbouring file INPUTs: (path, what filters look at)
        walked: set[bytes] = set()
        for source, given in enumerate(self.request.inputs):
            path = absolute(os.fsencode(given), folder=self._folder)
            if given == "-" or given.startswith("@"):
                yield from self._flush(named, source=source)
                yield from self._listed(given, source=source)
                continue
            mode = self._mode(path, given)
            if mode is None:
                yield from self._flush(named, source=source)
                yield from self._globbed(given, source=source)
            elif stat.S_ISDIR(mode):
                yield from self._flush(named, source=source)
                if path not in walked:
                    walked.add(path)
                    yield from self._walked(path, source=source)
            elif stat.S_ISREG(mode):
                named.append((path, os.fsencode(os.path.basename(given))))  # noqa: PTH119  bytes
            else:
                raise UsageError(
                    "INPUT is neither a regular file nor a folder",
                    where=display_name(given),
                    remedy="give a folder, a file, a glob or @list.txt; `-` reads a list from standard input",
                )
        yield from self._flush(named, source=len(self.request.inputs))

    def _mode(self, path: bytes, given: str) -> int | None:
        """The type of what exists there; None for a glob, which only counts where nothing has that very name."""
        try:
            return os.stat(path).st_mode  # noqa: PTH116  bytes
        except OSError as error:
            if is_glob(given) and isinstance(error, FileNotFoundError | NotADirectoryError):
                return None
            raise UsageError(
                f"INPUT cannot be read: {error.strerror}",
                where=display_name(given),
                remedy="name a folder, a file, a quoted glob, @list.txt or - (a list from standard input)",
            ) from error

    def _outside_out(self, folder: bytes, given: str) -> None:
        if self._out is None or folder in self._allowed:
            return
        if self._out.holds(folder):
            raise UsageError(
                "INPUT lies in the output folder or the state directory: results would become inputs",
                where=display_name(given),
                remedy="choose another folder with -o, or with --state-dir",
            )
        self._allowed.add(folder)

    def _walked(self, root: bytes, *, source: int, glob: Glob | None = None) -> Iterator[Stretch]:
        given = glob.pattern if glob else self.request.inputs[source]
        self._outside_out(root, given)
        self.roots[source] = root
        choosers = (glob, self._filters) if glob else (self._filters,)
        looks = self.request.sizes_up_to is None or self.request.preview  # then the cpus have enough to do with that
        walk = Walk(
            root,
            self.findings,
            grouping=self.request.grouping,
            choosers=choosers,
            out=self._out,
            children=0 if looks else self._children,
        )
        with closing(walk.parts()) as parts:
            found = yield from self._with_looks(self._telling(parts), source=source)
        if not found and glob:
            raise UsageError(
                "glob matches no item",
                where=display_name(given),
                remedy=f"check its spelling ({self._filters})" if str(self._filters) else "check its spelling",
            )
        if not found:
            self.findings.empty.add(root)

    def _telling(self, parts: Iterable[Part]) -> Iterator[Part]:
        for part in parts:
            if self._meanwhile is not None:
                self._meanwhile()
            yield part

    def _with_looks(self, parts: Iterator[Part], *, source: int) -> Generator[Stretch, None, bool]:
        """Whether there were any is returned."""
        found = False
        again = partial(look, source=source, findings=self.findings)
        worth, parts = self._worth_a_look(parts)
        for stretch in self._lookers.stretches(worth, again, source=source):
            if stretch.names:
                found = True
                yield stretch
        for folder, names in parts:
            found = True
            yield self._taken_as_listed(folder, names, source=source)
        return found

    def _worth_a_look(self, parts: Iterator[Part]) -> tuple[Iterator[Part], Iterator[Part]]:
        """Those whose sizes are wanted, and the others: all are, or none, of a folder that brings the items above the
        limit. So it is listed until that is known."""
        limit = self.request.sizes_up_to
        if limit is None or self.request.preview:
            return self._counted(parts, limit=limit), iter(())
        items, few = self._items, list[Part]()
        while items <= limit and (part := next(parts, None)) is not None:
            few.append(part)
            items += len(part.names)
        if items > limit:
            return iter(()), chain(few, parts)
        return self._counted(iter(few), limit=limit), iter(())

    def _counted(self, parts: Iterator[Part], *, limit: int | None) -> Iterator[Part]:
        for part in parts:
            self.findings.unsized |= limit is not None and self._items > limit
            self._items += len(part.names)
            yield part

    def _taken_as_listed(self, folder: bytes, names: list[bytes], *, source: int) -> Stretch:
        """Without a look: the listing has said that they are regular files."""
        self.findings.unsized = True
        self._items += len(names)
        if len(folder) + 1 + _LONG > LONGEST and len(folder) + 1 + max(map(len, names)) > LONGEST:
            return look(Part(folder, names), source=source, findings=self.findings)  # which refuses them by name
        return Stretch(source, folder, names, (), ())

    def _globbed(self, given: str, *, source: int) -> Iterator[Stretch]:
        glob = Glob(given)
        root = absolute(os.fsencode(glob.root), folder=self._folder)
        try:
            is_folder = stat.S_ISDIR(os.stat(root).st_mode)  # noqa: PTH116  bytes
        except (FileNotFoundError, NotADirectoryError):
            is_folder = False
        except OSError as error:
            raise UsageError(
                f"INPUT cannot be read: {error.strerror}",
                where=display_name(given),
                remedy="check the folders above it and their mounts; nothing was started",
            ) from error
        if not is_folder:
            raise UsageError("glob matches no item: its folder does not exist", where=display_name(given))
        yield from self._walked(root, source=source, glob=glob)

    def _listed(self, given: str, *, source: int) -> Iterator[Stretch]:
        content = (self.request.piped or {}).get(given)
        if content is not None:
            yield from self._files(PathList(content, folder=self._folder).blocks, given, source=source)
            return
        if given in ("-", "@-"):
            raise UsageError("INPUT - needs a list on standard input", where=given)
        path = self.request.folder / given[1:]
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise UsageError(
                    "this list can be read only once, and a resume reads it again",
                    where=display_name(given),
                    remedy="name it on the command line, or save the list in a file",
                )
            with path.open("rb") as file:
                before = os.fstat(file.fileno())
                yield from self._files(PathList(file, folder=self._folder).blocks, given, source=source)
                now = os.fstat(file.fileno())
        except OSError as error:
            raise UsageError(
                f"list cannot be read: {error.strerror}",
                where=display_name(given),
                remedy="@FILE is a list of paths; a file whose name begins with @ is written ./@...",
            ) from error
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise UsageError(
                "list changed while it was read",
                where=display_name(given),
                remedy="run again when it is complete; nothing was started",
            )

    def _flush(self, named: list[tuple[bytes, bytes]], *, source: int) -> Iterator[Stretch]:
        """File INPUTs that follow each other are one list, so that a directory's files share mini-batches."""
        if named:
            block = Block([path for path, _ in named], [name for _, name in named])
            yield from self._files(lambda: iter((block,)), "INPUT", source=source - 1)
            named.clear()

    def _files(self, blocks: Blocks, given: str, *, source: int) -> Iterator[Stretch]:
        """Files named outright."""
        bad = Noticed()
        blocks = first_mentions(blocks, self.findings)
        found = gathered(blocks) if self.request.grouping is Grouping.DIRECTORY else runs(blocks())
        again = partial(self._looked_at, source=source, bad=bad)
        for stretch in self._lookers.stretches(self._telling(self._parts(found, given)), again, source=source):
            if stretch.names:
                yield stretch
        if bad.count:
            raise UsageError(
                f"{bad.count} path(s) are missing or not regular files: {bad}",
                where=display_name(given),
                remedy="correct the list (find -type f writes a good one); nothing was started",
            )

    def _parts(self, found: Iterable[Run], given: str) -> Iterator[Part]:
        """The chosen ones, chunk by chunk."""
        for folder, names, written in found:
            self._outside_out(folder, given)
            if self._filtering:
                names = [name for name, seen_as in zip(names, written, strict=True) if self._chosen(seen_as)]
            for at in range(0, len(names), CHUNK):
                yield Part(folder, names[at : at + CHUNK])

    @staticmethod
    def _looked_at(part: Part, *, source: int, bad: Noticed) -> Stretch:
        """Files of one folder with sizes and times; those missing or not regular go to `bad`."""
        found, kept = [], []
        for name in part.names:
            path = part.folder.rstrip(b"/") + b"/" + name
            try:
                one = os.stat(path)  # noqa: PTH116  bytes
            except OSError as error:
                if error.errno in _NO_SUCH:
                    bad.add(path)
                    continue
                raise UsageError(
                    f"a listed file cannot be looked at: {error.strerror}",
                    where=display_name(os.fsdecode(path)),
                    remedy="check the folders above it and their mounts; nothing was started",
                ) from error
            if stat.S_ISREG(one.st_mode):
                found.append(one)
                kept.append(name)
            else:
                bad.add(path)
        return Stretch(source, part.folder, kept, list(map(SIZE, found)), mtimes_of(found))

    def _chosen(self, seen_as: bytes) -> bool:
        folder, slash, name = seen_as.removeprefix(b"./").lstrip(b"/").rpartition(b"/")
        if self._filters.choose(os.fsdecode(folder + slash), [name]):
            return True
        self.findings.filtered += 1
        return False
