"""Which file system a path lies on, read from Linux's table of mounts."""

import re
from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")
# File systems that other machines reach too; what FUSE mounts has its program's name behind "fuse.".
NETWORK_FILE_SYSTEMS = {
    *("nfs", "nfs3", "nfs4", "cifs", "smbfs", "smb2", "smb3", "ncpfs", "afs", "auristorfs", "coda", "davfs"),
    *("lustre", "gpfs", "beegfs", "beegfs_nodev", "fhgfs", "ceph", "glusterfs", "gfs2", "ocfs2", "orangefs", "pvfs2"),
    *("panfs", "wekafs", "sshfs", "moosefs", "lizardfs", "quobyte", "juicefs", "s3fs", "gcsfuse", "rclone"),
    *("ceph-fuse", "afsfuse", "hdfs", "smbnetfs", "curlftpfs"),
}


def read_mount_table() -> str:
    """Text of the table of mounts; empty on systems that have none, such as macOS."""
    try:
        return MOUNT_TABLE.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def network_file_system(path: Path, mount_table: str) -> tuple[str, Path] | None:
    """Type and mount point of the network file system that `path` lies on; None if it lies on a local one.

    Args:
        path: absolute, without symbolic links; it need not exist.
        mount_table: as in ``/proc/self/mountinfo``.
    """
    mounts = [mount for mount in map(_mount, mount_table.splitlines()) if mount and path.is_relative_to(mount[1])]
    # The longest mount point holds the path; of two at the same place, the later one covers the earlier.
    kind, point = max(enumerate(mounts), key=lambda item: (len(item[1][1].parts), item[0]), default=(0, ("", path)))[1]
    return (kind, point) if kind.removeprefix("fuse.") in NETWORK_FILE_SYSTEMS else None


def _mount(line: str) -> tuple[str, Path] | None:
    """Type and mount point of a line: ``36 35 98:0 / /home rw,noatime shared:1 - nfs4 server:/home rw``."""
    left, separator, right = line.partition(" - ")
    fields = left.split(" ")
    if not separator or len(fields) < 5:
        return None
    point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
    return right.split(" ")[0], Path(point)
