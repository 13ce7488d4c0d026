"""Callers who remember what they asked for, under which key, and what was answered; what must be in the ledger then."""

import collections
import concurrent.futures
import dataclasses
import sys
import threading
import time
import uuid

import grpc
from goldbook.v1 import customers_pb2, customers_pb2_grpc, ledger_pb2, ledger_pb2_grpc, rewards_pb2, rewards_pb2_grpc

from processes import BOUND, ROOT, wait_until

PROGRAM = "cdnow"
# Each caller has a customer of its own, so that it knows in which order the calls for that customer came.
CALLERS = 6
# Enough that no redemption is refused, whatever is unanswered before it.
OPENING = 1_000_000


@dataclasses.dataclass
class Call:
    """One call, as its caller remembers it."""

    customer: str
    key: str
    # Granted if above zero, and redeemed if below.
    points: int
    # By the machine's clock, which is the database's, too.
    sent_at: float
    answered_at: float = None
    # The id of the entry that the answer named; None while there is no answer.
    entry: str = None


def send(channel, call):
    """Makes a call, and returns the id of its entry and whether the key had been used before."""
    rewards = rewards_pb2_grpc.RewardServiceStub(channel)
    if call.points > 0:
        request = rewards_pb2.GrantRewardRequest(
            program_id=PROGRAM,
            customer_id=call.customer,
            points=call.points,
            reason=rewards_pb2.GRANT_REASON_GOODWILL,
            idempotency_key=call.key,
        )
        answer = rewards.GrantReward(request, timeout=BOUND)
        return answer.reward.reward_id, answer.replayed
    request = rewards_pb2.RedeemPointsRequest(
        program_id=PROGRAM, customer_id=call.customer, points=-call.points, idempotency_key=call.key
    )
    answer = rewards.RedeemPoints(request, timeout=BOUND)
    return answer.redemption.redemption_id, answer.replayed


class Load:
    """Callers that grant and redeem until they are told to stop. A call without an answer is remembered as that."""

    def __init__(self):
        self.calls = {f"customer-{number}": [] for number in range(CALLERS)}
        self.answered = 0
        self.unanswered = 0
        self.refused = []
        self.lock = threading.Lock()

    def enrol(self, machine, service):
        address = f"http://127.0.0.1:{service.port}"
        machine.goldbook("program", "apply", "--address", address, str(ROOT / "examples/cdnow/program.toml"))
        with service.channel() as channel:
            customers = customers_pb2_grpc.CustomerServiceStub(channel)
            for customer in self.calls:
                customers.CreateCustomer(
                    customers_pb2.CreateCustomerRequest(
                        program_id=PROGRAM,
                        customer=customers_pb2.Customer(customer_id=customer),
                        idempotency_key=customer,
                    )
                )
                self.make(channel, customer, OPENING)

    def start(self, service):
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self.call, args=(service, customer), daemon=True) for customer in self.calls
        ]
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(BOUND)
            if thread.is_alive():
                sys.exit("a caller hangs")
        if self.refused:
            sys.exit(f"{len(self.refused)} calls were refused, such as: {self.refused[:5]}")

    def make(self, channel, customer, points):
        call = Call(customer, str(uuid.uuid4()), points, time.time())
        self.calls[customer].append(call)
        entry, _ = send(channel, call)
        with self.lock:
            call.entry, call.answered_at = entry, time.time()
            self.answered += 1

    def call(self, service, customer):
        number = 0
        with service.channel() as channel:
            while not self.stopping.is_set():
                number += 1
                try:
                    # Different amounts, so that one which is missing cannot stand in for another.
                    self.make(channel, customer, number % 97 + 1 if number % 5 else -(number % 89 + 1))
                except grpc.RpcError as error:
                    if error.code() not in [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED]:
                        self.refused.append(f"{error.code()}: {error.details()}")
                    self.unanswered += 1
                    # Not faster, so that not only calls without an answer are made.
                    time.sleep(0.1)

    def goes_on(self, calls):
        goal = self.answered + calls
        wait_until("the load", lambda: self.answered >= goal or self.refused)

    def all(self):
        return [call for calls in self.calls.values() for call in calls]


def replay(channel, calls):
    """Sends calls again, each customer's in their order, and returns how many were carried out only now."""
    by_customer = collections.defaultdict(list)
    for call in calls:
        by_customer[call.customer].append(call)
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as callers:
        return sum(callers.map(lambda calls: replay_in_order(channel, calls), by_customer.values()))


def replay_in_order(channel, calls):
    carried_out = 0
    for call in calls:
        entry, replayed = send(channel, call)
        carried_out += not replayed
        if replayed and call.entry not in [None, entry]:
            raise AssertionError(f"{call} was answered with another entry, {entry}")
        call.entry = entry
    return carried_out


SIGNS = {ledger_pb2.ENTRY_KIND_POINTS_GRANTED: 1, ledger_pb2.ENTRY_KIND_POINTS_REDEEMED: -1}


def read_ledger(channel, customer):
    """How often each entry of a grant or a redemption is in the customer's ledger, by its id and its points.

    An id is the account's and a number of the entry there, so another entry may have it after some were lost.
    """
    ledger, token, counts = ledger_pb2_grpc.LedgerServiceStub(channel), "", collections.Counter()
    while True:
        request = ledger_pb2.ListEntriesRequest(
            program_id=PROGRAM, customer_id=customer, page_size=1000, page_token=token
        )
        page = ledger.ListEntries(request)
        counts.update(
            (entry.entry_id, SIGNS[entry.kind] * entry.move.points) for entry in page.entries if entry.kind in SIGNS
        )
        token = page.next_page_token
        if not token:
            return counts


def check_present(channel, load, present, absent=()):
    """Each of these calls must be in the ledger once, and none of those others."""
    ledgers = {customer: read_ledger(channel, customer) for customer in load.calls}
    for calls, times in [(present, 1), (absent, 0)]:
        for call in calls:
            if (found := ledgers[call.customer][(call.entry, call.points)]) != times:
                sys.exit(f"{call} is in the ledger {found} times, and must be there {times} times")
    return ledgers


def check_all(channel, load):
    """Each call must be in the ledger once, and nothing else; the balances are what the callers expect."""
    ledgers = check_present(channel, load, load.all())
    rewards = rewards_pb2_grpc.RewardServiceStub(channel)
    for customer, calls in load.calls.items():
        if (found := sum(ledgers[customer].values())) != len(calls):
            sys.exit(f"{customer} has {found} entries of {len(calls)} calls")
        request = rewards_pb2.GetBalanceRequest(program_id=PROGRAM, customer_id=customer)
        available, expected = rewards.GetBalance(request).balance.available, sum(call.points for call in calls)
        if available != expected:
            sys.exit(f"{customer} has {available} points, and its caller expects {expected}")
