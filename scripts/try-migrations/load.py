"""A stock client with the service config of docs/clients.md that calls all the time, and how long each call took."""

import dataclasses
import itertools
import random
import sys
import threading
import time
import uuid

import grpc
from google.protobuf import timestamp_pb2
from google.type import money_pb2
from goldbook.v1 import (
    activities_pb2,
    activities_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    rewards_pb2,
    rewards_pb2_grpc,
    tiers_pb2,
    tiers_pb2_grpc,
)

from book import PROGRAM, customer_id
from processes import ROOT, wait_until

# How long a call may take before its caller gives it up, and how long a caller rests after each, in seconds.
DEADLINE = 20
REST = 0.02
# Answers are asked for as they are. The core below Python's grpcio hands an answer on compressed now and then, one in some
# ten thousand where calls are many: it does not ask its own filter (1.76 and 1.85 do). That is no failure of the service.
PLAIN = ("grpc.compression_enabled_algorithms_bitset", 1)


@dataclasses.dataclass
class Call:
    kind: str
    begun: float
    ended: float
    failure: str = None

    def took(self):
        return self.ended - self.begun


def quantile(durations, share):
    return durations[min(int(len(durations) * share), len(durations) - 1)]


def milliseconds(calls):
    """How long calls took, in words."""
    durations = sorted(call.took() for call in calls)
    if not durations:
        return "no calls"
    half, most, nearly_all = (f"{1000 * quantile(durations, share):.1f}" for share in [0.5, 0.99, 0.999])
    return (
        f"{len(calls):,} calls, p50 {half} ms, p99 {most} ms, p99.9 {nearly_all} ms, slowest {1000 * durations[-1]:.0f} ms"
    )


class Telling:
    """A channel that tells what it could not read of an answer: grpcio says no more than that there was something."""

    def __init__(self, channel):
        self.channel = channel

    def unary_unary(self, path, response_deserializer, **more):
        def read(data):
            try:
                return response_deserializer(data)
            except Exception as error:
                how = "gzip as it came" if data.startswith(b"\x1f\x8b") else data[:32].hex()
                print(f"{path}: {error!r}, of {len(data)} bytes: {how}", flush=True)
                raise

        return self.channel.unary_unary(path, response_deserializer=read, **more)

    def __getattr__(self, name):
        return getattr(self.channel, name)


class Load:
    """Callers that write and read about customers of their own choice until they are told to stop."""

    def __init__(self, service, customers, callers):
        options = [("grpc.service_config", (ROOT / "docs" / "service-config.json").read_text()), PLAIN]
        self.channel = Telling(grpc.insecure_channel(f"127.0.0.1:{service.port}", options))
        self.customers = customers
        self.calls = []
        # When each caller was answered last.
        self.answered = [0] * callers
        self.stopping = threading.Event()
        rewards = rewards_pb2_grpc.RewardServiceStub(self.channel)
        self.kinds = [
            ("grant", rewards.GrantReward, self.grant),
            ("balance", rewards.GetBalance, lambda customer: self.about(rewards_pb2.GetBalanceRequest, customer)),
            ("purchase", activities_pb2_grpc.ActivityServiceStub(self.channel).RecordActivity, self.purchase),
            (
                "tier",
                tiers_pb2_grpc.TierServiceStub(self.channel).GetCustomerTier,
                lambda customer: self.about(tiers_pb2.GetCustomerTierRequest, customer),
            ),
            ("redemption", rewards.RedeemPoints, self.redemption),
            (
                "entries",
                ledger_pb2_grpc.LedgerServiceStub(self.channel).ListEntries,
                lambda customer: self.about(ledger_pb2.ListEntriesRequest, customer),
            ),
        ]
        self.ledger = ledger_pb2_grpc.LedgerServiceStub(self.channel)
        self.threads = [threading.Thread(target=self.go_on, args=(number,), daemon=True) for number in range(callers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(2 * DEADLINE)
            if thread.is_alive():
                sys.exit("a caller hangs")
        self.channel.close()

    def about(self, request, customer, **more):
        return request(program_id=PROGRAM, customer_id=customer, **more)

    def grant(self, customer):
        return self.about(
            rewards_pb2.GrantRewardRequest, customer,
            points=random.randint(1, 1000), reason=rewards_pb2.GRANT_REASON_GOODWILL, idempotency_key=str(uuid.uuid4()),
        )  # fmt: skip

    def redemption(self, customer):
        # Whoever has five purchases has more.
        return self.about(rewards_pb2.RedeemPointsRequest, customer, points=1, idempotency_key=str(uuid.uuid4()))

    def purchase(self, customer):
        amount = money_pb2.Money(currency_code="USD", units=random.randint(1, 99))
        return self.about(
            activities_pb2.RecordActivityRequest, customer,
            activity_id=str(uuid.uuid4()), purchase=activities_pb2.Purchase(amount=amount),
            happened_at=timestamp_pb2.Timestamp(seconds=int(time.time()) - 1),
        )  # fmt: skip

    def go_on(self, number):
        # Not all begin with the same.
        kinds = itertools.islice(itertools.cycle(self.kinds), number, None)
        while not self.stopping.is_set():
            kind, method, request = next(kinds)
            asked = request(customer_id(random.randrange(self.customers)))
            begun, failure = time.monotonic(), None
            try:
                method(asked, timeout=DEADLINE)
            except grpc.RpcError as error:
                failure = f"{kind}: {error.code()}: {error.details()}"
            ended = time.monotonic()
            self.calls.append(Call(kind, begun, ended, failure))
            self.answered[number] = ended
            time.sleep(REST)

    def between(self, begun, ended):
        """The calls that were under way at any time between these instants, once they have ended."""
        wait_until("the calls", lambda: min(self.answered) > ended)
        return [call for call in list(self.calls) if call.begun < ended and call.ended > begun]


class LongReads:
    """An export that its caller reads no further for a while, and a snapshot of as long. A small export is over before."""

    def __init__(self, load, cluster, seconds):
        self.stream = load.ledger.ExportEntries(ledger_pb2.ExportEntriesRequest(program_id=PROGRAM), timeout=60)
        # How many entries there are, and the first of them.
        next(self.stream), next(self.stream)
        reads = "SELECT count(*) FROM accounts; SELECT FROM ledger_entries LIMIT 1"
        self.ending = [
            threading.Timer(seconds, self.stream.cancel),
            threading.Thread(target=cluster.sql, args=[f"{reads}; SELECT pg_sleep({seconds})", "goldbook"]),
        ]
        for thread in self.ending:
            thread.start()
        look = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        wait_until("a long read", lambda: cluster.sql(look) != "0")

    def end(self):
        for thread in self.ending:
            thread.join()
