"""A book of many entries, written by the service as an import of purchases, and audits of it."""

import os
import subprocess
import sys
import time

from processes import ROOT, clean_environment

PROGRAM = "cdnow"
# A purchase is an entry, and its points are another. Enrolment is one, too, and so is the first tier.
PURCHASES_OF_ONE = 5
ENTRIES_OF_ONE = 2 * PURCHASES_OF_ONE + 2
# How many imports run at the same time.
IMPORTS = 2
# How long the longest of it may take, in seconds.
BOUND = 3600


def customer_id(number):
    return f"customer-{number:07}"


def goldbook(program, *arguments):
    """Runs a command of goldbook to its end, and returns what it says."""
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, env=clean_environment(), timeout=BOUND
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"goldbook {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def write_purchases(path, numbers):
    with open(path, "w") as file:
        file.write("purchase_id,customer_id,purchased_on,amount_usd\n")
        for number in numbers:
            for purchase in range(PURCHASES_OF_ONE):
                day = f"202{purchase}-{number % 12 + 1:02}-{number % 28 + 1:02}"
                file.write(f"{purchase},{customer_id(number)},{day},{number % 40 + 5}.00\n")


def fill(machine, cluster, service, entries):
    """Enrols customers with purchases until there are so many entries. Returns how many customers and entries."""
    begun = time.monotonic()
    address = f"http://127.0.0.1:{service.port}"
    goldbook(machine.program, "program", "apply", "--address", address, str(ROOT / "examples/cdnow/program.toml"))
    customers = -(-entries // ENTRIES_OF_ONE)
    importing = []
    for part in range(IMPORTS):
        path = machine.directory / f"purchases-{part}.csv"
        write_purchases(path, range(part, customers, IMPORTS))
        command = [machine.program, "import", "purchases", "--address", address, "--program", PROGRAM, str(path)]
        importing.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean_environment()
            )  # fmt: skip
        )
    for process in importing:
        said, _ = process.communicate(timeout=BOUND)
        if process.returncode != 0:
            sys.exit(f"an import ended with {process.returncode}: {said}")
    for part in range(IMPORTS):
        os.remove(machine.directory / f"purchases-{part}.csv")
    written = int(cluster.sql("SELECT count(*) FROM ledger_entries", "goldbook"))
    if written < entries:
        sys.exit(f"{customers} customers have {written} entries only")
    took = time.monotonic() - begun
    size = cluster.sql("SELECT pg_size_pretty(pg_database_size('goldbook'))")
    print(f"{written:,} entries of {customers:,} customers, {size}, in {took:.0f} s", flush=True)
    return customers


def audit(program, cluster, whose):
    begun = time.monotonic()
    said = goldbook(program, "audit", "--database-url", cluster.url())
    if "nothing differs" not in said:
        sys.exit(f"the audit of {whose} says: {said}")
    print(f"the audit of {whose} finds nothing that differs, in {time.monotonic() - begun:.0f} s", flush=True)
