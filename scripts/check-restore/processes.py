"""What the checks start: Postgres, PgBouncer, the service and a forwarder of connections. All of it ends with them."""

import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import grpc

ROOT = pathlib.Path(__file__).parent.parent.parent
# How long anything may take, in seconds.
BOUND = 60


def wait_until(what, look):
    give_up = time.monotonic() + BOUND
    while not (seen := look()):
        if time.monotonic() > give_up:
            sys.exit(f"{what}: not within {BOUND} s")
        time.sleep(0.02)
    return seen


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def database_account():
    """Postgres refuses to run as root, and PgBouncer does, too."""
    if os.getuid() != 0:
        return None
    for name in ["postgres", "nobody"]:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    sys.exit("there is neither a user postgres nor a user nobody")


class Machine:
    """A directory, and the processes that are stopped with it."""

    def __init__(self, program, bin_dir):
        self.program = program
        self.bin_dir = pathlib.Path(bin_dir)
        # TMPDIR is not used: its path may be closed to the database's user, or too long for a socket.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="goldbook-restore.", dir="/tmp"))
        self.account = database_account()
        if self.account:
            os.chown(self.directory, self.account.pw_uid, self.account.pw_gid)
        self.directory.chmod(0o755)
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.end()
        shutil.rmtree(self.directory)

    def account_options(self):
        if not self.account:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def run(self, name, *arguments):
        """Runs a program of Postgres as the database's user, and returns what it says."""
        return self.run_as_database(self.bin_dir / name, *arguments)

    def run_as_database(self, *command):
        command = [str(part) for part in command]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=BOUND, **self.account_options())
        if done.returncode != 0:
            sys.exit(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def goldbook(self, *arguments, status=0):
        """Runs a command of goldbook to its end, and returns what it says."""
        command = [self.program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=BOUND)
        if done.returncode != status:
            sys.exit(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def audit(self, url, *flags):
        said = self.goldbook("audit", "--database-url", url, *flags)
        if "nothing differs" not in said:
            sys.exit(f"the audit says: {said}")
        return said


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("GOLDBOOK_", "OTEL_", "PG"))}


class Cluster:
    """A Postgres that listens on a socket in a directory of its own."""

    def __init__(self, machine, name):
        self.machine = machine
        self.base = machine.directory / name
        self.data = self.base / "data"
        self.base.mkdir()
        self.base.chmod(0o755)
        if machine.account:
            os.chown(self.base, machine.account.pw_uid, machine.account.pw_gid)
        self.process = None

    def create(self):
        self.machine.run(
            "initdb", "-D", self.data, "-U", "postgres", "--encoding=UTF8", "--locale=C", "--no-sync",
            "--auth-local=trust", "--auth-host=reject", "--no-instructions",
        )  # fmt: skip
        return self

    def start(self, **settings):
        # Those that are killed leave nothing behind them outside of their directory.
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": self.base,
            "port": 5432,
            "dynamic_shared_memory_type": "mmap",
            **settings,
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self.base / "postgres.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(self.machine.bin_dir / "postgres"), "-D", str(self.data), *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **self.machine.account_options(),
            )  # fmt: skip
        self.machine.running.append(self)
        wait_until(f"the start of {self.base.name}", self.accepts)
        return self

    def accepts(self):
        if self.process.poll() is not None:
            sys.exit(f"a Postgres ended with {self.process.returncode}:\n" + (self.base / "postgres.log").read_text())
        command = [str(self.machine.bin_dir / "pg_isready"), "--quiet", "--host", str(self.base), "--port", "5432"]
        return subprocess.run(command).returncode == 0

    def sql(self, statement, database="postgres", user="postgres"):
        return self.machine.run(
            "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1",
            "--host", self.base, "--username", user, "--dbname", database, "--command", statement,
        )  # fmt: skip

    def url(self, role="goldbook_service"):
        host = str(self.base).replace("/", "%2F")
        return f"postgres://{role}@{host}:5432/goldbook?sslmode=disable"

    def make_database(self):
        """The roles and the database, with the schema."""
        self.sql("CREATE ROLE goldbook_owner LOGIN")
        self.sql("CREATE ROLE goldbook_service LOGIN")
        self.sql("CREATE DATABASE goldbook OWNER goldbook_owner")
        self.machine.goldbook("migrate", "--database-url", self.url("goldbook_owner"))
        return self

    def kill(self):
        """As a machine that loses its power: nobody has time to do anything."""
        postmaster = self.process.pid
        os.kill(postmaster, signal.SIGSTOP)
        children = subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True).stdout.split()
        segment = (self.data / "postmaster.pid").read_text().splitlines()[6].split()
        os.kill(postmaster, signal.SIGKILL)
        for child in children:
            try:
                os.kill(int(child), signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(BOUND)
        # The machine would have forgotten this one.
        subprocess.run(["ipcrm", "-m", segment[1]], capture_output=True)

    def end(self):
        if self.process and self.process.poll() is None:
            # At once and in order.
            self.process.send_signal(signal.SIGINT)
            self.process.wait(BOUND)


class Service:
    """`goldbook serve` on a port of its own."""

    def __init__(self, machine, url, *flags):
        self.port = free_port()
        self.lines = []
        self.process = subprocess.Popen(
            [machine.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--admin-listen", "off"]
            + ["--database-url", url, "--no-migrate", *flags],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=clean_environment(),
        )  # fmt: skip
        machine.running.append(self)
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def ready(self):
        wait_until("the start of a service", lambda: self.is_serving() or self.process.poll() is not None)
        if self.process.poll() is not None:
            sys.exit(f"a service ended before it served:\n{self.log()}")
        return self

    def refused(self):
        """What a service says that refuses to start."""
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            sys.exit(f"a service did not refuse to start:\n{self.log()}")
        self.reader.join()
        if status != 1:
            sys.exit(f"a service ended with {status}:\n{self.log()}")
        return self.log()

    def log(self):
        return "".join(self.lines)

    def is_serving(self):
        """Whether health says SERVING; None where nobody answers."""
        with self.channel() as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            try:
                # The status is the field 1, and SERVING its value 1.
                return check(b"", timeout=5) == b"\x08\x01"
            except grpc.RpcError:
                return None

    def channel(self):
        # Answers are asked for as they are: grpcio hands one on compressed now and then (docs/clients.md).
        options = [("grpc.enable_retries", 0), ("grpc.compression_enabled_algorithms_bitset", 1)]
        return grpc.insecure_channel(f"127.0.0.1:{self.port}", options)

    def kill(self):
        self.process.kill()
        self.process.wait(BOUND)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(BOUND)


class Forwarder:
    """A virtual address of a database: connections to its port go to a socket, which may be changed."""

    def __init__(self, machine, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        machine.running.append(self)
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self):
        return f"postgres://goldbook_service@127.0.0.1:{self.port}/goldbook?sslmode=disable"

    def accept(self):
        while True:
            try:
                taken, _ = self.listener.accept()
            except OSError:
                return
            onward = socket.socket(socket.AF_UNIX)
            try:
                onward.connect(str(self.target.base / ".s.PGSQL.5432"))
            except OSError:
                taken.close()
                onward.close()
                continue
            for source, sink in [(taken, onward), (onward, taken)]:
                threading.Thread(target=self.pass_on, args=(source, sink), daemon=True).start()

    @staticmethod
    def pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in [source, sink]:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def end(self):
        self.listener.close()


class PgBouncer:
    """A PgBouncer on a socket of its own, in front of a cluster."""

    def __init__(self, machine, cluster, name, mode, ignored):
        self.cluster = cluster
        self.base = machine.directory / name
        self.base.mkdir()
        (self.base / "users.txt").write_text('"goldbook_owner" ""\n"goldbook_service" ""\n')
        (self.base / "pgbouncer.ini").write_text(
            f"[databases]\ngoldbook = host={cluster.base} port=5432\n"
            f"[pgbouncer]\nlisten_addr =\nunix_socket_dir = {self.base}\nlisten_port = 6432\n"
            f"auth_type = trust\nauth_file = {self.base}/users.txt\npool_mode = {mode}\n"
            f"ignore_startup_parameters = {ignored}\ndefault_pool_size = 60\n"
        )
        if machine.account:
            os.chown(self.base, machine.account.pw_uid, machine.account.pw_gid)
        self.said = open(self.base / "log", "ab")
        self.process = subprocess.Popen(
            [shutil.which("pgbouncer"), str(self.base / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said, cwd="/", **machine.account_options(),
        )  # fmt: skip
        machine.running.append(self)
        wait_until("the start of PgBouncer", lambda: (self.base / ".s.PGSQL.6432").exists() or self.process.poll())
        if self.process.poll() is not None:
            sys.exit("PgBouncer ended:\n" + (self.base / "log").read_text())

    def url(self, role="goldbook_service"):
        host = str(self.base).replace("/", "%2F")
        return f"postgres://{role}@{host}:6432/goldbook?sslmode=disable"

    def end(self):
        if self.process.poll() is None:
            # Without waiting for those who are connected.
            self.process.terminate()
            self.process.wait(BOUND)
        self.said.close()
