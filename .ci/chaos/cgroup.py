"""A limit of memory for one process: a control group of version 1 or 2, whichever is there."""

import os
from pathlib import Path

from base import need_root
from smoke_harness import Skip

VERSION_1 = Path("/sys/fs/cgroup/memory")
VERSION_2 = Path("/sys/fs/cgroup")


class MemoryLimit:
    """What is started with `prefix` may hold `limit` bytes; the kernel kills it beyond that."""

    def __init__(self, chaos, limit):
        need_root("sh")
        name = f"stratos-chaos-{os.getpid()}"
        try:
            if (VERSION_1 / "memory.limit_in_bytes").exists():
                self.at, limit_file = VERSION_1 / name, "memory.limit_in_bytes"
            elif "memory" in (VERSION_2 / "cgroup.subtree_control").read_text().split():
                self.at, limit_file = VERSION_2 / name, "memory.max"
            else:
                raise Skip("no control group that limits memory")
            self.at.mkdir()
            chaos.at_end.callback(self.at.rmdir)
            (self.at / limit_file).write_text(str(limit))
        except OSError as error:
            raise Skip(f"no control group that limits memory: {error}") from error

    @property
    def prefix(self):
        return ("sh", "-c", f'echo $$ > {self.at}/cgroup.procs; exec "$@"', "sh")
