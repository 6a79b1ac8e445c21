"""Small disks that can be cut off and filled: images that are mounted by loop devices."""

import os
import subprocess
import time

from base import command, need_root
from smoke_harness import GIB, Skip

UNMOUNT_SECONDS = 30


def need_disks(filesystem):
    """Skips where images cannot be made or mounted."""
    need_root(f"mkfs.{filesystem}", "mount", "umount", "xfs_io")


class Image:
    """A file with a filesystem, mounted at `self.at`; nothing of it outlives the harness."""

    def __init__(self, chaos, name, filesystem, size=6 * GIB):
        self.file, self.at = chaos.scratch / f"{name}.img", chaos.scratch / name
        self.filesystem = filesystem
        with open(self.file, "wb") as file:
            file.truncate(size)
        quick = {"xfs": ("-q", "-K"), "ext4": ("-q", "-F", "-E", "nodiscard,lazy_itable_init=1")}
        command(f"mkfs.{filesystem}", *quick[filesystem], self.file)
        self.at.mkdir()
        self.is_mounted = False
        chaos.at_end.callback(self.remove)
        try:
            self.mount()
        except AssertionError as error:
            raise Skip(f"no loop device with {filesystem}: {error}") from error

    def mount(self):
        command("mount", "-o", "loop", self.file, self.at)
        self.is_mounted = True

    def unmount(self):
        """Waits until those who were killed have let go."""
        end = time.monotonic() + UNMOUNT_SECONDS
        while True:
            done = command("umount", self.at, check=False)
            if done.returncode == 0:
                break
            assert time.monotonic() < end, f"cannot unmount: {done.stderr}"
            time.sleep(0.02)
        self.is_mounted = False

    def cut_power(self):
        """What is not on the disk now will never be: the log is not even flushed."""
        command("xfs_io", "-x", "-c", "shutdown", self.at)

    def bring_back(self):
        """As a machine that starts again: the journal is replayed."""
        self.unmount()
        self.mount()
        probe = self.at / "probe"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise AssertionError(
                f"{self.at} did not come back ({error}): another mount namespace has it") from error

    def remove(self):
        if self.is_mounted:
            subprocess.run(["umount", "-l", self.at], check=False)
        self.file.unlink(missing_ok=True)


class Filler:
    """Takes what is free on a disk, and gives it back."""

    def __init__(self, at):
        self.file = at / "taken"

    def fill(self, leave=0):
        """Leaves this many bytes free, or a little less."""
        found = os.statvfs(self.file.parent)
        want = found.f_bavail * found.f_frsize - leave
        if want <= 0:
            return
        with open(self.file, "ab") as file:
            try:
                os.posix_fallocate(file.fileno(), file.tell(), want)
            except OSError:
                # The filesystem needs some of it for itself: bit by bit then.
                piece = bytes(1 << 16)
                try:
                    while leave == 0:
                        file.write(piece)
                        file.flush()
                except OSError:
                    pass

    def free(self):
        self.file.unlink(missing_ok=True)
