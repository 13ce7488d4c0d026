"""Two replicas are restarted one after the other, and one is killed, under the load of a client with the service config of docs/clients.md.

No call may fail for whoever makes it, and each acknowledged grant must be in the ledger once. When a replica is killed, an
answer may break off after its headers, which no library repeats: then the caller does. In the end a replica is
killed, and a client without the service config must notice: otherwise this would not find anything.
"""

import collections
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import grpc
from goldbook.v1 import customers_pb2, customers_pb2_grpc, ledger_pb2, ledger_pb2_grpc, rewards_pb2, rewards_pb2_grpc

ROOT = pathlib.Path(__file__).parent.parent
SERVICE_CONFIG = (ROOT / "docs" / "service-config.json").read_text()
PROGRAM = "cdnow"
CUSTOMERS = [f"customer-{number}" for number in range(10)]
CALLERS = 8
STREAM_ITEMS = 100
# How many calls are answered between two steps.
CALLS = 400
# How long anything may take, in seconds.
BOUND = 60


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_until(what, look):
    give_up = time.monotonic() + BOUND
    while not look():
        if time.monotonic() > give_up:
            sys.exit(f"{what}: not within {BOUND} s")
        time.sleep(0.01)


class Service:
    """`goldbook serve` as a child process."""

    def __init__(self, program, *flags):
        # The Postgres that is tried is the caller's choice.
        kept = {name: value for name, value in os.environ.items() if name == "GOLDBOOK_POSTGRES_BIN"}
        environment = kept | {
            name: value for name, value in os.environ.items() if not name.startswith(("GOLDBOOK_", "OTEL_"))
        }
        # Two replicas on one machine cannot tell their metrics at one port.
        environment["GOLDBOOK_ADMIN_LISTEN"] = "off"
        quiet = ["--dues-ms=0", "--liability-seconds=0", "--retention-minutes=0"]
        self.process = subprocess.Popen(
            [program, "serve", *quiet, *flags], stderr=subprocess.PIPE, text=True, env=environment
        )
        self.lines = []
        self.serving = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if '"serving"' in line:
                self.serving.set()

    def ready(self):
        wait_until("the start of a service", lambda: self.serving.is_set() or self.process.poll() is not None)
        if not self.serving.is_set():
            sys.exit("a service ended before it served:\n" + "".join(self.lines))
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(BOUND)
        self.reader.join()
        if status != 0 or any("cut off" in line for line in self.lines):
            sys.exit(f"a service did not end in order, with status {status}:\n" + "".join(self.lines))

    def kill(self):
        self.process.kill()
        self.process.wait(BOUND)


class Load:
    """Callers that grant and read until they are told to stop, and what came of it."""

    def __init__(self, channel):
        self.rewards = rewards_pb2_grpc.RewardServiceStub(channel)
        self.stopping = threading.Event()
        # By customer, the ids of acknowledged rewards.
        self.acknowledged = collections.defaultdict(list)
        self.answered = 0
        self.resumed = 0
        # Calls whose answers broke off, once a replica was killed.
        self.broken = 0
        self.killed = False
        self.failures = []
        self.lock = threading.Lock()
        callers = [threading.Thread(target=self.call, args=(number,), daemon=True) for number in range(CALLERS)]
        self.threads = [*callers, threading.Thread(target=self.stream, daemon=True)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(BOUND)
            if thread.is_alive():
                sys.exit(f"a caller hangs; {self.resumed} streams were gone on with: {self.failures[:5]}")

    def grant(self, customer):
        return rewards_pb2.GrantRewardRequest(
            program_id=PROGRAM,
            customer_id=customer,
            points=1,
            reason=rewards_pb2.GRANT_REASON_GOODWILL,
            idempotency_key=str(uuid.uuid4()),
        )

    def acknowledge(self, customer, granted):
        with self.lock:
            self.acknowledged[customer].append(granted.reward.reward_id)
            self.answered += 1

    def ask(self, method, request):
        """Makes a call, and again where its answer broke off after its headers."""
        while True:
            try:
                return method(request)
            except grpc.RpcError as error:
                # A library repeats a call until it has headers of an answer, and these have a trace.
                begun = "traceparent" in dict(error.initial_metadata() or ())
                if not (self.killed and begun and error.code() == grpc.StatusCode.UNAVAILABLE):
                    raise
                with self.lock:
                    self.broken += 1

    def call(self, number):
        customer = CUSTOMERS[number % len(CUSTOMERS)]
        while not self.stopping.is_set():
            try:
                self.acknowledge(customer, self.ask(self.rewards.GrantReward, self.grant(customer)))
                balance = rewards_pb2.GetBalanceRequest(program_id=PROGRAM, customer_id=customer)
                self.ask(self.rewards.GetBalance, balance)
            except grpc.RpcError as error:
                with self.lock:
                    self.failures.append(f"{error.code()}: {error.details()}, with headers {error.initial_metadata()}")
                time.sleep(0.01)

    def stream(self):
        customer = CUSTOMERS[-1]
        while not self.stopping.is_set():
            left = {str(number): self.grant(customer) for number in range(STREAM_ITEMS)}
            while left:
                items = [rewards_pb2.BatchGrantRewardsRequest(item_id=id, grant=grant) for id, grant in left.items()]
                try:
                    for outcome in self.rewards.BatchGrantRewards(iter(items), timeout=BOUND):
                        if not outcome.HasField("granted"):
                            raise AssertionError(outcome)
                        del left[outcome.item_id]
                        self.acknowledge(customer, outcome.granted)
                except grpc.RpcError as error:
                    # A stream may end so; what was not answered is sent again.
                    if error.code() == grpc.StatusCode.UNAVAILABLE:
                        self.resumed += 1
                        time.sleep(0.01)
                        continue
                    with self.lock:
                        self.failures.append(f"in a stream: {error.code()}: {error.details()}")
                    break

    def goes_on(self, calls=CALLS):
        goal = self.answered + calls
        wait_until("the load", lambda: self.answered >= goal or self.failures)


def read_ledger(channel, customer):
    """The ids of the customer's granted rewards in the ledger, and the balance."""
    ledger, token, granted = ledger_pb2_grpc.LedgerServiceStub(channel), "", []
    while True:
        request = ledger_pb2.ListEntriesRequest(
            program_id=PROGRAM, customer_id=customer, page_size=1000, page_token=token
        )
        page = ledger.ListEntries(request)
        granted += [entry.entry_id for entry in page.entries if entry.kind == ledger_pb2.ENTRY_KIND_POINTS_GRANTED]
        token = page.next_page_token
        if not token:
            break
    request = rewards_pb2.GetBalanceRequest(program_id=PROGRAM, customer_id=customer)
    return granted, rewards_pb2_grpc.RewardServiceStub(channel).GetBalance(request).balance.available


def check_ledger(channel, acknowledged):
    for customer in CUSTOMERS:
        granted, available = read_ledger(channel, customer)
        counts = collections.Counter(granted)
        for reward in acknowledged[customer]:
            if counts[reward] != 1:
                sys.exit(f"the acknowledged reward {reward} of {customer} is in the ledger {counts[reward]} times")
        # No call failed, so each grant was acknowledged, and none was carried out twice.
        if len(granted) != len(acknowledged[customer]) or available != len(granted):
            sys.exit(f"{customer} has {available} points, {len(granted)} grants and {len(acknowledged[customer])} answers")


def connect(ports, *options):
    # A list of addresses is no name of a host, which the service refuses.
    # Answers are asked for as they are: grpcio hands one on compressed now and then (docs/clients.md).
    options = [("grpc.default_authority", "goldbook"), ("grpc.compression_enabled_algorithms_bitset", 1), *options]
    return grpc.insecure_channel("ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports), options)


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")


def main(program):
    begun = time.monotonic()
    started = []
    directory = tempfile.TemporaryDirectory(prefix="goldbook-")
    os.chmod(directory.name, 0o711)
    data_dir = pathlib.Path(directory.name) / "data"
    try:
        # Its database is everybody's, and it is called by nobody else.
        own = ["--throwaway-database", "--data-dir", str(data_dir)]
        port = free_port()
        keeper = Service(program, "--listen", f"127.0.0.1:{port}", *own)
        started.append(keeper)
        keeper.ready()
        run([program, "program", "apply", "--address", f"http://127.0.0.1:{port}", str(ROOT / "examples/cdnow/program.toml")])
        with connect([port]) as channel:
            customers = customers_pb2_grpc.CustomerServiceStub(channel)
            for customer in CUSTOMERS:
                customers.CreateCustomer(
                    customers_pb2.CreateCustomerRequest(
                        program_id=PROGRAM,
                        customer=customers_pb2.Customer(customer_id=customer),
                        idempotency_key=customer,
                    )
                )
        socket_dir = str((data_dir / "socket").resolve()).replace("/", "%2F")
        database = f"postgres://goldbook_service@{socket_dir}:5432/goldbook?sslmode=disable"
        ports = [free_port(), free_port()]

        def start(place):
            service = Service(program, "--listen", f"127.0.0.1:{ports[place]}", "--database-url", database, "--no-migrate")
            started.append(service)
            return service.ready()

        replicas = [start(0), start(1)]
        with connect(ports, ("grpc.service_config", SERVICE_CONFIG)) as channel:
            load = Load(channel)
            load.start()
            for place in [0, 1]:
                load.goes_on()
                replicas[place].stop()
                load.goes_on()
                replicas[place] = start(place)
            load.goes_on()
            # One that is killed has no time to say anything, and calls are repeated.
            load.killed = True
            replicas[0].kill()
            load.goes_on()
            replicas[0] = start(0)
            load.goes_on()
            load.stop()
            if load.failures:
                sys.exit(f"{len(load.failures)} calls failed, such as: {load.failures[:5]}")
            check_ledger(channel, load.acknowledged)
        run([program, "audit", "--database-url", database])
        print(
            f"{load.answered} grants through two restarts and a kill, {load.resumed} streams gone on with, "
            f"{load.broken} answers asked for again, none failed or lost"
        )

        # Whoever repeats nothing notices when a replica is killed.
        with connect(ports[:1], ("grpc.enable_retries", 0)) as channel:
            load = Load(channel)
            load.start()
            load.goes_on()
            replicas[0].kill()
            wait_until("a failure of a call that is not repeated", lambda: load.failures)
            load.stopping.set()
            replicas[0] = start(0)
            load.stop()
        print(f"without the service config, {len(load.failures)} calls failed when a replica was killed, as they must")
        for service in [*replicas, keeper]:
            service.stop()
        print(f"took {time.monotonic() - begun:.0f} s")
    finally:
        # The keeper last, since its database is everybody's.
        for service in reversed(started):
            if service.process.poll() is None:
                service.process.terminate()
                service.process.wait(BOUND)
        directory.cleanup()


if __name__ == "__main__":
    main(sys.argv[1])
