"""Measures what each kind of call costs the database, many together and each alone; see scripts/measure-sizes.sh."""

import argparse
import datetime
import json
import pathlib
import signal
import sys
import time

import report
from load import BENEFIT, STREAMS, Requests, make, now
from meter import Meter
from processes import ROOT, Cluster, Machine, Service, wait_until

# Nothing but what is measured: no dues, no summaries, no search for what is kept no longer.
QUIET = ["--dues-ms=0", "--liability-seconds=0", "--retention-minutes=0"]
# Goldbook's own for a Postgres that it runs; checkpoints when they are asked for, and nobody else who writes pages.
# Autovacuum is measured apart.
SETTINGS = {
    "max_wal_size": "4GB",
    "shared_buffers": "1GB",
    "checkpoint_timeout": "1h",
    "wal_keep_size": "8GB",
    "bgwriter_lru_maxpages": 0,
    "autovacuum": "off",
}
# How many calls are made one after the other, each far from the others, and how many before them.
ALONE = 100
BEFORE = 20


class Bench:
    """A Postgres with Goldbook's schema and a program, and what is measured there."""

    def __init__(self, machine, customers, statements):
        self.machine = machine
        self.customers = customers
        self.requests = Requests()
        self.cluster = Cluster(machine, "database").create()
        self.cluster.start(**SETTINGS)
        # Not every Postgres is built with it.
        if self.cluster.sql("SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'wal_compression'") == "t":
            self.cluster.sql("ALTER SYSTEM SET wal_compression = 'lz4'")
            self.cluster.sql("SELECT pg_reload_conf()")
        self.cluster.make_database()
        for statement in statements:
            self.cluster.sql(statement, database="goldbook", user="goldbook_owner")
        self.meter = Meter(machine, self.cluster)
        with self.serving() as service:
            self.apply_program(service)

    def apply_program(self, service):
        """The program of the examples, with points that expire and a benefit with a quota, as most programs have them."""
        document = (ROOT / "examples" / "cdnow" / "program.toml").read_text()
        never = 'point_value = "0.01"\n'
        assert never in document
        path = self.machine.directory / "program.toml"
        document = document.replace(never, never + 'expiry = { after = "P1Y" }\n')
        benefit = f'benefit_id = "{BENEFIT}"\n'
        path.write_text(document.replace(benefit, benefit + 'quota = { limit = 1000, per = "year" }\n'))
        self.machine.goldbook("program", "apply", "--address", f"http://127.0.0.1:{service.port}", str(path))

    def serving(self, *flags):
        return Serving(self.machine, self.cluster.url(), flags or QUIET)

    def together(self, name, requests, **how):
        """What calls cost, that many at the same time make right after a checkpoint."""
        self.meter.checkpoint()
        requests = list(requests)

        def work():
            with self.serving() as service:
                make(service.port, requests, **how)

        cost = self.meter.cost(len(requests), work)
        print(f"{name}: {cost.count} in {cost.seconds:.0f} s", file=sys.stderr, flush=True)
        return cost

    def alone(self, name, request, customers):
        """What calls cost that come one after the other, when nothing of their pages is in memory or was written since a
        checkpoint, and no two of them share a page but by chance: as in a ledger far larger than memory."""
        self.cluster.end()
        self.cluster.start(**SETTINGS)
        # What all calls need is read and written by some calls before.
        apart = (customers[1] - customers[0]) // 2
        with self.serving() as service:
            make(service.port, (request(number + apart) for number in customers[:BEFORE]), callers=1)
        calls = [request(number) for number in customers]

        def work():
            with self.serving() as service:
                make(service.port, calls, callers=1)

        # To count rows would read them.
        cost = self.meter.cost(len(calls), work, counted=False)
        print(f"{name}: {cost.count} one after the other", file=sys.stderr, flush=True)
        return cost

    def expiries(self, count, seconds):
        """What it costs that the points of so many grants expire, each of another customer. To grant them takes at most so
        many seconds."""
        expires_at = now() + datetime.timedelta(seconds=seconds)
        with self.serving() as service:
            make(service.port, (self.requests.grant(number, expires_at) for number in range(count)), streams=STREAMS)
        while now() <= expires_at:
            time.sleep(0.1)
        due = "SELECT count(*) FROM accounts WHERE next_due_at <= now()"
        if (waiting := self.meter.number(due)) != count:
            sys.exit(f"{waiting} of {count} accounts have something due")
        self.meter.checkpoint()

        def work():
            with self.serving("--liability-seconds=0", "--retention-minutes=0"):
                wait_until("the end of what is due", lambda: self.meter.number(due) == 0)

        cost = self.meter.cost(count, work)
        print(f"expiries: {cost.count} in {cost.seconds:.0f} s", file=sys.stderr, flush=True)
        return cost

    def idle(self, seconds):
        """What a service costs in so many seconds in which nobody calls, but for summaries of liability."""

        def work():
            with self.serving("--liability-seconds=0"):
                time.sleep(seconds)

        return self.meter.cost(seconds, work)

    def tier_periods(self):
        """Adds a tier period for each customer, for the bytes of its row: until a period ends takes days."""
        self.cluster.sql(
            "INSERT INTO tier_periods (account_id, began_seq, began_at)"
            " SELECT account_id, 1, now() FROM customers ORDER BY md5(account_id::text)",
            database="goldbook",
        )

    def vacuum(self):
        """What it costs that the rows of the ledger are frozen, whose pages were written before the last checkpoint."""
        rows = self.meter.number("SELECT count(*) FROM ledger_entries")
        self.meter.checkpoint()
        return self.meter.cost(rows, lambda: self.cluster.sql("VACUUM (FREEZE) ledger_entries", database="goldbook"))


class Serving:
    """A service for as long as something is done with it. It has told all that it counted when it has ended."""

    def __init__(self, machine, url, flags):
        self.machine, self.url, self.flags = machine, url, flags

    def __enter__(self):
        self.service = Service(self.machine, self.url, *self.flags).ready()
        return self.service

    def __exit__(self, *_):
        self.service.end()
        for line in self.service.lines:
            if '"WARN"' in line or '"ERROR"' in line:
                print(line.strip(), file=sys.stderr)


def measure(bench):
    count, requests = bench.customers, bench.requests

    def shuffled(request, times=1):
        return (request(number) for number in requests.shuffled(count, times))

    together = {
        "customers": bench.together("customers", map(requests.customer, range(count))),
        "purchases": bench.together("purchases by stream", shuffled(requests.purchase, 2), streams=STREAMS),
        "purchases, single": bench.together("purchases, single", shuffled(requests.purchase)),
        "grants": bench.together("grants by stream", shuffled(requests.grant), streams=STREAMS),
        "grants, single": bench.together("grants, single", shuffled(requests.grant)),
        "redemptions": bench.together("redemptions", shuffled(requests.redemption)),
        "uses of benefits": bench.together("uses of benefits", shuffled(requests.benefit_use)),
        "grants of benefits": bench.together("grants of benefits", shuffled(requests.benefit_grant)),
    }
    apart = max(count // ALONE, 2)
    spread = range(0, min(apart * ALONE, count - apart), apart)
    alone = {
        # Customers of whom nothing is there yet.
        "customers": bench.alone("customers", requests.customer, range(count, count + 2 * ALONE, 2)),
        "purchases": bench.alone("purchases", requests.purchase, spread),
        "grants": bench.alone("grants", requests.grant, spread),
        "redemptions": bench.alone("redemptions", requests.redemption, spread),
        "uses of benefits": bench.alone("uses of benefits", requests.benefit_use, spread),
        "grants of benefits": bench.alone("grants of benefits", requests.benefit_grant, spread),
    }
    # A tenth of the grants takes a tenth of the time, more or less.
    together["expiries"] = bench.expiries(count // 10, 10 + together["grants"].seconds / 2)
    idle = bench.idle(max(10, min(60, count // 1000)))
    bench.tier_periods()
    tables = bench.meter.look().tables
    return report.Report(together, alone, bench.vacuum(), idle, tables)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("bin_dir")
    arguments.add_argument("--customers", type=int, default=60_000)
    arguments.add_argument("--json", type=pathlib.Path)
    arguments.add_argument("--sql", action="append", default=[])
    arguments = arguments.parse_args()
    # So that whoever stops it stops all that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with Machine(arguments.program, arguments.bin_dir) as machine:
        measured = measure(Bench(machine, arguments.customers, arguments.sql))
    print(measured.text())
    if arguments.json:
        arguments.json.write_text(json.dumps(measured.as_json(), indent=1) + "\n")
    if senseless := measured.senseless():
        sys.exit("\n".join(["what makes no sense:", *senseless]))


if __name__ == "__main__":
    main()
