"""Calls of a stock client: so many of a kind, by several callers, one after the other, or by streams."""

import asyncio
import csv
import datetime
import hashlib
import random
import sys

import grpc
from goldbook.v1 import (
    activities_pb2,
    activities_pb2_grpc,
    benefits_pb2,
    benefits_pb2_grpc,
    customers_pb2,
    customers_pb2_grpc,
    programs_pb2,
    rewards_pb2,
    rewards_pb2_grpc,
)
from google.protobuf import timestamp_pb2
from google.type import date_pb2, money_pb2, postal_address_pb2

from processes import ROOT

PROGRAM = "cdnow"
# How many callers and streams there are at the same time, where they are many.
CALLERS = 64
STREAMS = 4
# How many items of a stream are without an answer at most.
WINDOW = 200
# How long one call, and all of a stream, may take, in seconds.
CALL_BOUND = 60
STREAM_BOUND = 600
# What a grant gives and what a redemption takes: about the points of three purchases.
POINTS = 100
# Over how many days before the run purchases are spread, so that hardly two of a customer fall on one.
DAYS = 365
# A benefit of every tier, and one that is granted to whoever has not the tier.
BENEFIT = "birthday-surprise"
GRANTED_BENEFIT = "early-access"


def instant(moment):
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def customer_id(number):
    """Ids without an order, as most shops' are: one after the other would be the cheaper case for an index."""
    return hashlib.md5(str(number).encode()).hexdigest()[:12]


class Requests:
    """Makes requests. Purchases cost what real ones did, and no key is used twice."""

    def __init__(self):
        self.random = random.Random(1)
        self.made = 0
        with open(ROOT / "examples" / "cdnow" / "purchases.csv", newline="") as purchases:
            self.cents = [round(float(row["amount_usd"]) * 100) for row in csv.DictReader(purchases)]

    def key(self):
        self.made += 1
        # As long as a UUID, since that is what most callers send.
        return f"{self.made:032x}"

    def customer(self, number):
        """A dossier with what most shops know, and one decision on being contacted."""
        name = customer_id(number)
        consent = customers_pb2.MarketingConsent(
            channel=customers_pb2.MARKETING_CHANNEL_EMAIL, granted=True, decided_at=instant(now()), source="checkout"
        )
        customer = customers_pb2.Customer(
            customer_id=name,
            given_name="Alexandra",
            family_name=f"Sample-{name[:6]}",
            email=f"alexandra.{name}@mail.example",
            phone="+1 555 010 0123",
            locale="en-US",
            birth_date=date_pb2.Date(year=1980, month=5, day=17),
            address=postal_address_pb2.PostalAddress(
                region_code="US", postal_code="10001", locality="New York", address_lines=["350 Example Avenue"]
            ),
            marketing_consents=[consent],
        )
        return customers_pb2.CreateCustomerRequest(program_id=PROGRAM, customer=customer, idempotency_key=self.key())

    def purchase(self, number):
        cents = self.random.choice(self.cents)
        happened_at = now() - datetime.timedelta(days=self.random.randrange(DAYS))
        amount = money_pb2.Money(currency_code="USD", units=cents // 100, nanos=cents % 100 * 10_000_000)
        return activities_pb2.RecordActivityRequest(
            program_id=PROGRAM,
            customer_id=customer_id(number),
            activity_id=f"order-{self.key()[-10:]}",
            purchase=activities_pb2.Purchase(amount=amount),
            happened_at=instant(happened_at),
        )

    def grant(self, number, expires_at=None):
        request = rewards_pb2.GrantRewardRequest(
            program_id=PROGRAM,
            customer_id=customer_id(number),
            points=POINTS,
            reason=rewards_pb2.GRANT_REASON_PROMOTION,
            idempotency_key=self.key(),
        )
        if expires_at:
            request.expiry.CopyFrom(programs_pb2.ExpiryRule(at=instant(expires_at)))
        return request

    def redemption(self, number):
        return rewards_pb2.RedeemPointsRequest(
            program_id=PROGRAM, customer_id=customer_id(number), points=POINTS, idempotency_key=self.key()
        )

    def benefit_use(self, number):
        return benefits_pb2.UseBenefitRequest(
            program_id=PROGRAM,
            customer_id=customer_id(number),
            benefit_id=BENEFIT,
            quantity=1,
            idempotency_key=self.key(),
        )

    def benefit_grant(self, number):
        """A benefit for some weeks, with who decided it and a note, as support grants it."""
        return benefits_pb2.GrantEntitlementRequest(
            program_id=PROGRAM,
            customer_id=customer_id(number),
            benefit_id=GRANTED_BENEFIT,
            quantity=2,
            until=instant(now() + datetime.timedelta(days=30)),
            reason=rewards_pb2.CORRECTION_REASON_GOODWILL,
            author="support-17",
            note="The parcel came late",
            idempotency_key=self.key(),
        )

    def shuffled(self, customers, times=1):
        """Each of the customers so many times, in no order."""
        numbers = list(range(customers)) * times
        self.random.shuffle(numbers)
        return numbers


def in_stream(request):
    """A request as an item of the stream that takes such requests."""
    if isinstance(request, activities_pb2.RecordActivityRequest):
        return activities_pb2.BatchRecordActivitiesRequest(item_id="1", activity=request)
    return rewards_pb2.BatchGrantRewardsRequest(item_id="1", grant=request)


class Calls:
    """The methods that are called, on one connection."""

    def __init__(self, port):
        # Answers are asked for as they are: grpcio hands one on compressed now and then (docs/clients.md).
        options = [("grpc.enable_retries", 0), ("grpc.compression_enabled_algorithms_bitset", 1)]
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options)
        activities = activities_pb2_grpc.ActivityServiceStub(self.channel)
        benefits = benefits_pb2_grpc.BenefitServiceStub(self.channel)
        rewards = rewards_pb2_grpc.RewardServiceStub(self.channel)
        self.methods = {
            customers_pb2.CreateCustomerRequest: customers_pb2_grpc.CustomerServiceStub(self.channel).CreateCustomer,
            activities_pb2.RecordActivityRequest: activities.RecordActivity,
            rewards_pb2.GrantRewardRequest: rewards.GrantReward,
            rewards_pb2.RedeemPointsRequest: rewards.RedeemPoints,
            benefits_pb2.UseBenefitRequest: benefits.UseBenefit,
            benefits_pb2.GrantEntitlementRequest: benefits.GrantEntitlement,
            activities_pb2.BatchRecordActivitiesRequest: activities.BatchRecordActivities,
            rewards_pb2.BatchGrantRewardsRequest: rewards.BatchGrantRewards,
        }

    async def call(self, requests):
        for request in requests:
            await self.methods[type(request)](request, timeout=CALL_BOUND)

    async def stream(self, requests):
        """Sends items as they are answered: HTTP/2 takes a flood of small frames for an attack."""
        room, answered = asyncio.Semaphore(WINDOW), 0

        async def items():
            for request in requests:
                await room.acquire()
                yield in_stream(request)

        method = self.methods[type(in_stream(requests[0]))]
        async for outcome in method(items(), timeout=STREAM_BOUND):
            if outcome.WhichOneof("outcome") == "error":
                sys.exit(f"an item is refused: {outcome.error}")
            answered += 1
            room.release()
        if answered != len(requests):
            sys.exit(f"{answered} of {len(requests)} items were answered")


def make(port, requests, callers=CALLERS, streams=0):
    """Makes all of these calls: by so many callers, or streams, of which each goes on when it is answered."""
    requests = list(requests)

    async def run():
        calls = Calls(port)
        async with calls.channel:
            if streams:
                await asyncio.gather(*(calls.stream(requests[place::streams]) for place in range(streams)))
            else:
                await asyncio.gather(*(calls.call(requests[place::callers]) for place in range(callers)))

    asyncio.run(run())
