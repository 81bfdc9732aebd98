"""What the file system that a run lies on promises, and what not. Pure over what it is handed, but for `statfs` where
/proc is silent.

A run needs of its file system: bytes that are on the disk when a sync returns, a rename that is whole or not at all,
appending and truncating in place, owners and modes, and a lock that only one process gets. docs/running.md has the
table for people.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from batchctl.named_tuple import NamedTuple
from batchctl.node.mounts import NOWHERE, MountPoint, existing, magic_of, mount_of


class Verdict(StrEnum):
    """May a run lie there?"""

    FINE = "fine"
    WARNED = "warned"
    REFUSED = "refused"  # unless the user says so


class FileSystem(NamedTuple):
    """A family of file systems. `where` as it stands after "lies", `lacks` what it does not promise, in words."""

    where: str
    lacks: str
    verdict: Verdict


class Storage(NamedTuple):
    """What `path` lies on."""

    path: str
    mount: MountPoint
    where: str
    lacks: str
    verdict: Verdict

    @property
    def told(self) -> str:
        """One line; it names the path, the file system and what that does not promise."""
        at = f" ({self.mount.kind} at {self.mount.point or 'an unknown place'})" if self.mount.kind else ""
        return f"{self.path} lies {self.where}{at}: {self.lacks}"


LOCAL = FileSystem("on a disk of this machine", "", Verdict.FINE)
MEMORY = FileSystem("in memory", "all of it is gone after a reboot or a power cut", Verdict.WARNED)
OVERLAY = FileSystem(
    "in a container's own layer",
    "it goes with the container, and a sync is as good as the file system that holds the upper layer",
    Verdict.WARNED,
)
NO_JOURNAL = FileSystem(
    "on a file system without a journal", "a power cut may leave a rename half done", Verdict.WARNED
)
NETWORK = FileSystem(
    "on a network file system",
    "two machines that start the same command at once are told apart only where the server's locks work, and a sync is "
    "as good as the server's",
    Verdict.WARNED,
)
SHARED = FileSystem(
    "in a folder that a virtual machine shares with its host",
    "a sync is as good as the host's, and two machines that start the same command at once are told apart only where "
    "locks work across them",
    Verdict.WARNED,
)
BETWEEN = FileSystem(
    "behind a program that hands files on",
    "a sync is as good as that program and the file system behind it",
    Verdict.WARNED,
)
NTFS = FileSystem("on NTFS", "owners and modes hold only where it is mounted with them", Verdict.WARNED)
UNKNOWN = FileSystem(
    "on a file system that is not known here", "what it keeps after a power cut cannot be said", Verdict.WARNED
)
UNTOLD = FileSystem("on a file system of a type that cannot be told", "what it promises is not known", Verdict.WARNED)
OBJECTS = FileSystem(
    "on a mounted object store",
    "it has no append, no truncating and no rename that is whole or not at all, and a sync does not say that the bytes "
    "are stored",
    Verdict.REFUSED,
)
REMOTE = FileSystem(
    "on files of another machine", "it has no durable sync, and no lock that the other side knows of", Verdict.REFUSED
)
PROGRAM = FileSystem(
    "on a FUSE file system that is not known here",
    "whether it can append, rename in one step and sync durably cannot be told",
    Verdict.REFUSED,
)
FAT = FileSystem(
    "on FAT", "it has no owners, no modes and no journal: a power cut may tear a rename or the folder", Verdict.REFUSED
)
BLOCKS = FileSystem(
    "on NTFS or exFAT behind FUSE",
    "it has no owners and modes as it is usually mounted, and a rename that a power cut cannot tear is not promised",
    Verdict.REFUSED,
)


def _all(family: FileSystem, names: str) -> dict[str, FileSystem]:
    return dict.fromkeys(names.split(), family)


KINDS: Mapping[str, FileSystem] = MappingProxyType(
    {
        **_all(LOCAL, "ext3 ext4 xfs btrfs zfs f2fs bcachefs jfs nilfs2 reiserfs ecryptfs"),
        **_all(MEMORY, "tmpfs ramfs devtmpfs hugetlbfs"),
        **_all(OVERLAY, "overlay overlayfs aufs"),
        **_all(NO_JOURNAL, "ext2 minix ufs udf hfsplus"),
        **_all(
            NETWORK, "nfs nfs4 cifs smb3 smbfs ceph lustre gpfs beegfs afs ocfs2 gfs2 orangefs glusterfs panfs wekafs"
        ),
        **_all(SHARED, "9p virtiofs vboxsf prl_fs vmhgfs"),
        **_all(NTFS, "ntfs3 ntfs"),
        **_all(FAT, "vfat msdos exfat"),
        "fuseblk": BLOCKS,
    }
)
# By the name that the file system gives itself: "fuse.NAME", or the source of a bare "fuse".
FUSE_NAMES: Mapping[str, FileSystem] = MappingProxyType(
    {
        **_all(
            OBJECTS,
            "blobfuse blobfuse2 s3fs gcsfuse rclone mountpoint-s3 mount-s3 goofys geesefs riofs yas3fs ossfs ossfs2 "
            "cosfs obsfs hf-mount s3ql s3backer catfs",
        ),
        **_all(REMOTE, "sshfs curlftpfs davfs davfs2 gvfsd-fuse kio-fuse smbnetfs httpdirfs"),
        **_all(NETWORK, "glusterfs ceph ceph-fuse juicefs moosefs mfs lizardfs seaweedfs cvmfs2 cernvm beegfs dfs"),
        **_all(SHARED, "vmhgfs-fuse virtiofs prl_fsd osxfs grpcfuse"),
        **_all(OVERLAY, "fuse-overlayfs unionfs unionfs-fuse"),
        **_all(BETWEEN, "bindfs mergerfs shfs gocryptfs encfs cryfs securefs portal lxcfs posixovl"),
        **_all(FAT, "fusefat exfat exfat-fuse"),
        **_all(BLOCKS, "ntfs-3g lowntfs-3g"),
    }
)
# Options that take a promise back.
_NO_FLUSH = frozenset({"nobarrier", "barrier=0"})
_OWN_LOCKS = frozenset({"nolock", "nobrl", "local_lock=all", "local_lock=flock", "localflocks"})


def family_of(mount: MountPoint) -> FileSystem:
    """The family that a mount belongs to."""
    if mount.kind == "fuse" or mount.kind.startswith("fuse."):
        names = (mount.kind.partition(".")[2], mount.source, mount.source.partition(":")[0])
        known = (FUSE_NAMES.get(name.lower()) for name in names)
        return next((family for family in known if family is not None), PROGRAM)
    return KINDS.get(mount.kind, UNKNOWN if mount.kind else UNTOLD)


def judge(path: str, mount: MountPoint) -> Storage:
    """What is to be said of a path on that mount."""
    family = family_of(mount)
    lacks, verdict = family.lacks, family.verdict
    options = frozenset(mount.options)
    if family is LOCAL and options & _NO_FLUSH:
        lacks, verdict = f"mounted with {min(options & _NO_FLUSH)}, a sync may not reach the disk", Verdict.WARNED
    elif family is OVERLAY and "volatile" in options:
        lacks = "mounted volatile, it syncs nothing, and it goes with the container"
    elif family is NETWORK and options & _OWN_LOCKS:
        lacks += f"; mounted with {min(options & _OWN_LOCKS)}, locks end at this machine"
    return Storage(path, mount, family.where, lacks, verdict)


def storage_of(path: Path, mounts: Iterable[MountPoint]) -> Storage:
    """What an absolute path lies on; one that is not there yet, what its folder would be made on. Never raises."""
    try:
        real = Path(os.path.realpath(existing(path)))
    except OSError:  # a loop of links: whoever opens it says so
        return judge(str(path), NOWHERE)
    mount = mount_of(str(real), mounts)
    if not mount.kind:
        with contextlib.suppress(OSError, AttributeError):  # softly: UNTOLD says so
            mount = MountPoint("", magic_of(existing(real)))
    return judge(str(path), mount)
