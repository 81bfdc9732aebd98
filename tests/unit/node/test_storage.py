"""What is said of the file system that a run lies on: a table of mounts, then real ones."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from batchctl.node.mounts import NOWHERE, MountPoint, magic_of, mount_of, parse_mount_points
from batchctl.node.storage import FUSE_NAMES, KINDS, PROGRAM, UNKNOWN, UNTOLD, Verdict, family_of, judge, storage_of

FINE, WARNED, REFUSED = Verdict.FINE, Verdict.WARNED, Verdict.REFUSED

# name: the end of a line of mountinfo (type, source, options of the file system) -> verdict, words
TABLE: dict[str, tuple[str, Verdict, tuple[str, ...]]] = {
    "ext4": ("ext4 /dev/sda1 rw", FINE, ()),
    "xfs": ("xfs /dev/nvme0n1 rw,attr2,inode64", FINE, ()),
    "btrfs": ("btrfs /dev/sda1 rw,subvol=/@", FINE, ()),
    "zfs": ("zfs tank/data rw,xattr", FINE, ()),
    "f2fs": ("f2fs /dev/mmcblk0 rw", FINE, ()),
    "ext4 that does not flush": ("ext4 /dev/sda1 rw,nobarrier", WARNED, ("nobarrier", "sync may not reach")),
    "xfs that does not flush": ("xfs /dev/sda1 rw,barrier=0", WARNED, ("barrier=0",)),
    "ext2": ("ext2 /dev/sda1 rw", WARNED, ("without a journal",)),
    "tmpfs": ("tmpfs tmpfs rw,size=1g", WARNED, ("in memory", "reboot or a power cut")),
    "ramfs": ("ramfs none rw", WARNED, ("in memory",)),
    "overlay": ("overlay overlay rw,upperdir=/u", WARNED, ("container", "upper layer")),
    "volatile overlay": ("overlay overlay rw,volatile", WARNED, ("syncs nothing",)),
    "fuse-overlayfs": ("fuse.fuse-overlayfs fuse-overlayfs rw", WARNED, ("container",)),
    "nfs": ("nfs4 server:/export rw,vers=4.2,hard,local_lock=none", WARNED, ("network", "two machines", "sync")),
    "nfs with its own locks": ("nfs server:/export rw,local_lock=all", WARNED, ("local_lock=all", "end at this")),
    "nfs without locks": ("nfs server:/export rw,nolock", WARNED, ("nolock",)),
    "cifs": ("cifs //account.file.core.windows.net/share rw", WARNED, ("network",)),
    "cifs without locks": ("cifs //server/share rw,nobrl", WARNED, ("nobrl",)),
    "lustre": ("lustre mgs@tcp:/fsx rw,flock", WARNED, ("network",)),
    "ceph": ("ceph 10.0.0.1:/ rw", WARNED, ("network",)),
    "gpfs": ("gpfs gpfs0 rw", WARNED, ("network",)),
    "glusterfs": ("fuse.glusterfs server:/volume rw", WARNED, ("network",)),
    "juicefs": ("fuse.juicefs JuiceFS:name rw", WARNED, ("network",)),
    "9p": ("9p host rw,trans=virtio", WARNED, ("shares with its host",)),
    "virtiofs": ("virtiofs share rw", WARNED, ("shares with its host",)),
    "bindfs": ("fuse.bindfs /data rw", WARNED, ("program",)),
    "ntfs3": ("ntfs3 /dev/sdb1 rw", WARNED, ("owners and modes",)),
    "blobfuse2 by its source": ("fuse blobfuse2 rw", REFUSED, ("object store", "no append")),
    "blobfuse by its type": ("fuse.blobfuse blobfuse rw", REFUSED, ("object store",)),
    "s3fs": ("fuse.s3fs s3fs rw", REFUSED, ("object store",)),
    "gcsfuse": ("fuse.gcsfuse my-bucket rw", REFUSED, ("object store",)),
    "rclone": ("fuse.rclone remote:bucket rw", REFUSED, ("object store",)),
    "mountpoint-s3": ("fuse mountpoint-s3 rw", REFUSED, ("object store",)),
    "goofys": ("fuse.goofys bucket rw", REFUSED, ("object store",)),
    "capitals": ("fuse.S3FS bucket rw", REFUSED, ("object store",)),
    "sshfs": ("fuse.sshfs user@host:/data rw", REFUSED, ("another machine",)),
    "a FUSE of nobody": ("fuse.mine somewhere rw", REFUSED, ("FUSE", "cannot be told")),
    "a bare FUSE": ("fuse /dev/fuse rw", REFUSED, ("FUSE",)),
    "fuseblk": ("fuseblk /dev/sdb1 rw", REFUSED, ("NTFS or exFAT",)),
    "vfat": ("vfat /dev/sdb1 rw", REFUSED, ("no owners",)),
    "exfat": ("exfat /dev/sdb1 rw", REFUSED, ("FAT",)),
    "a type of nobody": ("newfs /dev/sdz rw", WARNED, ("not known",)),
}


@pytest.mark.parametrize(("tail", "verdict", "words"), TABLE.values(), ids=TABLE)
def test_what_is_said_of_a_mount(tail: str, verdict: Verdict, words: tuple[str, ...]) -> None:
    (mount,) = parse_mount_points(f"36 35 98:0 / /mnt/data rw,noatime shared:1 - {tail}")
    found = judge("/mnt/data/out", mount)
    assert found.verdict is verdict
    assert all(word in found.told for word in (*words, "/mnt/data/out", tail.split(maxsplit=1)[0], "/mnt/data"))
    assert "\n" not in found.told


def test_every_family_says_what_it_lacks() -> None:
    for family in (*KINDS.values(), *FUSE_NAMES.values(), PROGRAM, UNKNOWN, UNTOLD):
        assert bool(family.lacks) == (family.verdict is not FINE)


def test_names_are_looked_up_as_they_are_given() -> None:
    assert all(name == name.lower() for name in (*KINDS, *FUSE_NAMES))


def test_a_machine_without_mountinfo_is_asked_by_statfs(tmp_path: Path) -> None:
    told = subprocess.run(["stat", "-f", "-c", "%t", str(tmp_path)], check=True, capture_output=True, text=True)
    found = storage_of(tmp_path / "not" / "yet", [])
    if magic_of(tmp_path):
        assert found.mount.kind == magic_of(tmp_path)
    if int(told.stdout, 16) == 0xEF53:
        assert (found.mount.kind, found.verdict) == ("ext4", FINE)
    assert magic_of(Path("/proc")) == ""  # a type without a name here
    assert storage_of(Path("/proc/self"), []).verdict is WARNED
    assert family_of(NOWHERE) is UNTOLD
    with pytest.raises(OSError, match=os.strerror(2)):
        magic_of(tmp_path / "gone")


def test_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self")
    mounts = [MountPoint("/", "ext4"), MountPoint("/proc", "nfs")]
    assert storage_of(tmp_path / "link" / "below", mounts).verdict is WARNED
    assert storage_of(tmp_path / "below", mounts).verdict is FINE


@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
def test_real_mounts(tmp_path: Path, kind: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("not run: mounting takes root")
    points = {name: tmp_path / name for name in ("lower", "upper", "work", "at")}
    for folder in points.values():
        folder.mkdir()
    options = (
        "" if kind == "tmpfs" else f"lowerdir={points['lower']},upperdir={points['upper']},workdir={points['work']}"
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", bytes(points["at"]), kind.encode(), 0, options.encode()) != 0:
        pytest.skip(f"not run: {kind} cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        mounts = parse_mount_points(Path("/proc/self/mountinfo").read_text())
        found = storage_of(points["at"] / "out", mounts)
        assert (found.mount.kind, found.mount.point, found.verdict) == (kind, str(points["at"]), WARNED)
        assert storage_of(tmp_path / "out", mounts).mount == mount_of(str(tmp_path), mounts)
        assert magic_of(points["at"]) == kind
    finally:
        assert libc.umount(bytes(points["at"])) == 0


def test_the_docs_have_a_row_for_every_family() -> None:
    text = (Path(__file__).parents[3] / "docs" / "running.md").read_text(encoding="utf-8")
    rows = {cells[1].strip(): cells for line in text.splitlines() if len(cells := line.split("|")) == 6}
    for family in {*KINDS.values(), *FUSE_NAMES.values(), PROGRAM, UNKNOWN}:
        _, _, kinds, lacks, verdict, _ = rows[family.where]
        assert family.verdict in verdict or (family.verdict is FINE and "taken" in verdict)
        assert kinds.strip()
        assert bool(lacks.strip()) == bool(family.lacks)
