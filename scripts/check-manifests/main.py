"""Starts what the chart's manifests say: the image's program, as each pod has it, beside a Postgres, and probes it:

    main.py IMAGE_ROOT POSTGRES_FOLDER [NAME...]    the golden files of these names, or all of them

A migration first, then a replica, which must be ready, not be ready without its database and live all the same, then audits,
and an end in time. Then it tries itself on manifests that are broken. Runs as root in a network of its own; see
scripts/try-manifests.sh. Needs PyYAML and grpcio.
"""

import copy
import dataclasses
import pathlib
import signal
import sys
import tempfile
import time

import grpc

from containers import Node
from faults import Fault
from manifests import Image, Rendering
from mutations import MUTATIONS, ON
from probes import await_failure, await_success, check, demand_success
from supplies import ADDRESS, NAMES, Postgres, Supplies

ROOT = pathlib.Path(__file__).parent.parent.parent
GOLDEN = ROOT / "charts/goldbook/ci/golden"
# Where a pod is reached. What listens on the loopback alone is not.
POD_ADDRESS = "10.20.0.3"
# How long a job may take, and how long until a replica notices that its database is away, in seconds.
JOB_BOUND = 60
OUTAGE_BOUND = 30
# How long a replica must live without its database, in seconds.
OUTAGE = 2
HOSTS = f"127.0.0.1 localhost\n{ADDRESS} {' '.join(NAMES)}\n{POD_ADDRESS} goldbook-0\n127.0.0.1 collector.monitoring\n"


class Trial:
    def __init__(self, image_root, bin_dir, directory):
        self.supplies = Supplies(directory)
        self.postgres = Postgres(bin_dir, directory, self.supplies)
        self.node = Node(image_root, directory, HOSTS, self.supplies.of_database.root)

    def run(self, rendering):
        begun = time.monotonic()
        supplies = self.supplies.beside(rendering.objects)
        [replica] = rendering.pods("Deployment", supplies)
        self.postgres.make_anew("cert" if "PGSSLCERT" in replica.env else "scram-sha-256")
        migrations = rendering.pods("Job", supplies) or [self.migration_by_hand(replica)]
        audits = rendering.pods("CronJob", supplies)
        for job in migrations:
            self.node.run(job, JOB_BOUND)
        ended_after = self.run_replica(rendering, replica, audits)
        print(
            f"{rendering.name}: {len(migrations)} migration, a replica that ended {ended_after:.1f} s after SIGTERM, "
            f"{len(audits)} audits ({time.monotonic() - begun:.1f} s)",
            flush=True,
        )

    def migration_by_hand(self, replica):
        """Where the chart makes no job for it, somebody else does it."""
        url = self.supplies.get("a migration by hand", "Secret", "goldbook-owner-url", "url").decode()
        env = dict(Image.env) | {"GOLDBOOK_OWNER_DATABASE_URL": url, "PGSSLMODE": "verify-full"}
        command = [*Image.entrypoint, "migrate"]
        return dataclasses.replace(replica, title="a migration by hand", command=command, env=env, mounts=[], probes={})

    def run_replica(self, rendering, replica, audits):
        """Starts a replica on a migrated database, and sees it through; how long it took to end, in seconds."""
        container = self.node.start(replica)
        try:
            await_success(container, POD_ADDRESS, "startup")
            container.check_is_restricted()
            for kind in ("liveness", "readiness"):
                demand_success(container, POD_ADDRESS, kind)
            self.check_answers_callers(rendering, replica)
            for audit in audits:
                self.node.run(audit, JOB_BOUND)
            self.postgres.stop()
            await_failure(container, POD_ADDRESS, "readiness", OUTAGE_BOUND)
            until = time.monotonic() + OUTAGE
            while time.monotonic() < until:
                demand_success(container, POD_ADDRESS, "liveness")
                time.sleep(0.2)
            self.postgres.start()
            await_success(container, POD_ADDRESS, "readiness")
            return container.end()
        finally:
            container.kill()
            if not self.postgres.is_running:
                self.postgres.start()

    def check_answers_callers(self, rendering, replica):
        """Where probes do not go through the listener with TLS, nobody else would notice that it has a wrong certificate."""
        [service] = [item for item in rendering.of_kind("Service") if item["spec"]["ports"][0]["name"] == "grpc"]
        address = f"{POD_ADDRESS}:50051"
        if "GOLDBOOK_TLS_CERTIFICATE" not in replica.env:
            channel = grpc.insecure_channel(address)
        else:
            certificate, key = self.supplies.caller
            shown = (key, certificate) if "GOLDBOOK_TLS_CLIENT_CA" in replica.env else ()
            name = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
            credentials = grpc.ssl_channel_credentials(self.supplies.of_listener.root, *shown)
            channel = grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", name)])
        with channel:
            serves, told = check(channel, "", 10)
        if not serves:
            raise Fault(f"{replica.title}: a caller is told {told}")

    def try_itself(self, rendering):
        """Each mutation of a manifest must be told by its words."""
        for words, change in MUTATIONS:
            broken = Rendering(rendering.name, copy.deepcopy(rendering.objects))
            change(broken)
            supplies = self.supplies.beside(broken.objects)
            try:
                migrations, [replica], audits = (broken.pods(kind, supplies) for kind in ("Job", "Deployment", "CronJob"))
                for job in migrations:
                    self.node.run(job, JOB_BOUND)
                self.run_replica(broken, replica, audits)
            except Fault as fault:
                if words not in str(fault):
                    raise Fault(f"a manifest that is broken was to be told by '{words}', and is by: {fault}") from None
                continue
            raise Fault(f"a manifest that is broken passes, and was to be told by '{words}'")
        print(f"{len(MUTATIONS)} manifests that are broken were told", flush=True)

    def end(self):
        self.node.end()
        self.postgres.end()


def main(image_root, bin_dir, *names):
    # So that whoever stops it stops all that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    # TMPDIR is not used: its path may be closed to the database's user, or too long for a socket.
    with tempfile.TemporaryDirectory(prefix="goldbook-manifests.", dir="/tmp") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o711)
        trial = None
        try:
            trial = Trial(image_root, pathlib.Path(bin_dir), directory)
            for name in names or sorted(path.stem for path in GOLDEN.glob("*.yaml")):
                trial.run(Rendering.read(GOLDEN / f"{name}.yaml"))
            trial.postgres.make_anew("scram-sha-256")
            trial.try_itself(Rendering.read(GOLDEN / f"{ON}.yaml"))
        except Fault as fault:
            sys.exit(str(fault))
        finally:
            if trial:
                trial.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
