"""Makes the place that a container has, and becomes its program. Runs in namespaces of its own, as root; see containers.py."""

import ctypes
import json
import os
import pathlib
import subprocess
import sys

PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 23, 24, 38
DEVICES = ["null", "zero", "full", "random", "urandom"]


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)


def make_place(root, mounts, is_read_only):
    mount("--bind", root, root)
    for source, path, writable in mounts:
        mount("--bind", source, root + path)
        if not writable:
            mount("-o", "remount,bind,ro", root + path)
    mount("-t", "proc", "proc", root + "/proc")
    # As a runtime makes it; programs may count on it.
    devices = pathlib.Path(root + "/dev")
    mount("-t", "tmpfs", "tmpfs", devices)
    for name in DEVICES:
        (devices / name).touch()
        mount("--bind", f"/dev/{name}", devices / name)
    if is_read_only:
        mount("-o", "remount,bind,ro", root)


def give_up_rights(user, group, groups):
    libc = ctypes.CDLL(None, use_errno=True)
    capability = 0
    while libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "a capability cannot be dropped")
        capability += 1
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "rights could come anew")
    os.setgroups(groups)
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


def main(place):
    make_place(place["root"], place["mounts"], place["is_read_only"])
    os.chroot(place["root"])
    os.chdir(place["directory"])
    give_up_rights(place["user"], place["group"], place["groups"])
    os.execve(place["command"][0], place["command"], place["env"])


main(json.loads(sys.argv[1]))
