"""Runs pods of manifests as a node would: with the image's files, and the user, rights, variables and files of the pod."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from faults import Fault

INSIDE = pathlib.Path(__file__).parent / "inside.py"


class Node:
    """Where pods run. Each has the image's files in a tree of its own, since mounts need places there."""

    def __init__(self, image_root, directory, hosts, roots):
        self.directory = directory / "node"
        self.directory.mkdir()
        # The temporary directory of the whole trial is closed to others.
        self.directory.chmod(0o755)
        self.image = self.directory / "image"
        subprocess.run(["cp", "-a", "--", image_root, self.image], check=True)
        for name in ("proc", "dev"):
            (self.image / name).mkdir(exist_ok=True)
        (self.image / "etc/hosts").write_text(hosts)
        # A root of the world's, such as the image trusts.
        with open(self.image / "etc/ssl/certs/ca-certificates.crt", "ab") as trusted:
            trusted.write(roots)
        self.count = 0
        self.running = []

    def start(self, pod):
        self.count += 1
        place = self.directory / str(self.count)
        root = place / "root"
        place.mkdir()
        # The directories are its own, and the files are those of all.
        subprocess.run(["cp", "-al", "--", self.image, root], check=True)
        mounts = []
        for number, mount in enumerate(pod.mounts):
            source = place / f"volume-{number}"
            write_volume(source, mount.files, pod)
            (root / mount.path.lstrip("/")).mkdir(parents=True)
            mounts.append([str(source), mount.path, mount.files is None])
        container = Container(self, pod, root, mounts, place / "log")
        self.running.append(container)
        return container

    def run(self, pod, seconds):
        """Runs a pod of a job to its end, which must be a good one."""
        container = self.start(pod)
        status = container.wait(seconds)
        if status != 0:
            raise Fault(f"{pod.title} ended with status {status}:\n{container.log()}")

    def end(self):
        for container in self.running:
            container.kill()


def write_volume(source, files, pod):
    """As the agent of a node writes it: the directory that counts is a link, and so are the files."""
    source.mkdir()
    group = pod.files_group if pod.files_group is not None else 0
    os.chown(source, 0, group)
    if files is None:
        source.chmod(0o2777 if pod.files_group is not None else 0o777)
        return
    content = source / "..2026_01_01"
    content.mkdir()
    (source / "..data").symlink_to(content.name)
    for name, (data, mode) in files.items():
        file = content / name
        file.write_bytes(data)
        os.chown(file, 0, group)
        file.chmod(mode if pod.files_group is None else mode | 0o440)
        (source / name).symlink_to(f"..data/{name}")
    for directory in (source, content):
        directory.chmod(0o755)


class Container:
    def __init__(self, node, pod, root, mounts, log):
        self.pod = pod
        self.log_file = log
        groups = [] if pod.files_group is None else [pod.files_group]
        place = {
            "root": str(root), "mounts": mounts, "is_read_only": pod.is_read_only, "directory": pod.directory,
            "user": pod.user, "group": pod.group, "groups": groups, "command": pod.command, "env": pod.env,
        }  # fmt: skip
        with open(log, "wb") as said:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, INSIDE, json.dumps(place)],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={"PATH": os.environ["PATH"]},
            )  # fmt: skip

    def log(self):
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-20:])

    def program(self):
        """The process id of the program, seen from here: the child of what made its place."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        if not found.stdout.strip():
            raise Fault(f"{self.pod.title} has ended:\n{self.log()}")
        return int(found.stdout)

    def check_is_restricted(self):
        process = pathlib.Path(f"/proc/{self.program()}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        pod = self.pod
        wanted = {
            "Uid": [str(pod.user)] * 4,
            "Gid": [str(pod.group)] * 4,
            "Groups": [] if pod.files_group is None else [str(pod.files_group)],
            "NoNewPrivs": ["1"],
        } | {name: ["0" * 16] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        for name, words in wanted.items():
            if status[name].split() != words:
                raise Fault(f"{pod.title}: {name} of the process is {status[name].split()}, and not {words}")
        if status["NSpid"].split()[-1] != "1":
            raise Fault(f"{pod.title}: it is not the first process of its own")
        # The fifth word of a line is where it is mounted, the sixth how.
        mounted = {line.split()[4]: line.split()[5].split(",") for line in (process / "mountinfo").read_text().splitlines()}
        if ("ro" in mounted["/"]) is not pod.is_read_only:
            raise Fault(f"{pod.title}: its root is mounted with {mounted['/']}")

    def check_runs(self):
        if self.process.poll() is not None:
            raise Fault(f"{self.pod.title} ended with status {self.process.returncode}:\n{self.log()}")

    def wait(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Fault(f"{self.pod.title} did not end within {seconds} s:\n{self.log()}") from None

    def end(self):
        """As a node ends a pod. The pause before it is not waited for, but is part of the time."""
        left = self.pod.grace_seconds - self.pod.pause_seconds
        begun = time.monotonic()
        os.kill(self.program(), signal.SIGTERM)
        status = self.wait(max(left, 0))
        if status != 0:
            raise Fault(f"{self.pod.title} ended with status {status} after SIGTERM:\n{self.log()}")
        return time.monotonic() - begun

    def kill(self):
        if self.process.poll() is None:
            # The program itself: since it became another user, it does not end with what made its place. All that it has
            # started ends with it.
            try:
                os.kill(self.program(), signal.SIGKILL)
            except (Fault, ProcessLookupError):
                self.process.kill()
            self.process.wait()
