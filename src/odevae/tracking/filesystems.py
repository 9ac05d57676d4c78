"""Which file system a path lies on."""

from collections.abc import Iterable
from pathlib import Path

import psutil

# File systems that other machines reach too; what FUSE mounts has its program's name after "fuse.".
NETWORK_FILE_SYSTEMS = {
    *("nfs", "nfs3", "nfs4", "cifs", "smbfs", "smb2", "smb3", "ncpfs", "afs", "auristorfs", "coda", "davfs"),
    *("lustre", "gpfs", "beegfs", "beegfs_nodev", "fhgfs", "ceph", "glusterfs", "gfs2", "ocfs2", "orangefs", "pvfs2"),
    *("panfs", "wekafs", "sshfs", "moosefs", "lizardfs", "quobyte", "juicefs", "s3fs", "gcsfuse", "rclone"),
    *("ceph-fuse", "afsfuse", "hdfs", "smbnetfs", "curlftpfs"),
}


def mounted() -> list[tuple[str, str]]:
    """Type and mount point of every mounted file system; none where the system does not list them."""
    try:
        return [(mount.fstype, mount.mountpoint) for mount in psutil.disk_partitions(all=True)]
    except OSError:
        return []


def network_file_system(path: Path, mounts: Iterable[tuple[str, str]]) -> tuple[str, Path] | None:
    """Type and mount point of the network file system that `path` lies on; None if it lies on a local one.

    Args:
        path: absolute, without symbolic links; it need not exist.
        mounts: as from `mounted`.
    """
    above = [(kind, Path(point)) for kind, point in mounts if path.is_relative_to(point)]
    # The longest mount point holds the path; of two at the same place, the later one covers the earlier.
    kind, point = max(reversed(above), key=lambda mount: len(mount[1].parts), default=("", path))
    return (kind, point) if kind.removeprefix("fuse.") in NETWORK_FILE_SYSTEMS else None
