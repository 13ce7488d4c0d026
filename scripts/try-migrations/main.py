"""Tries migrations on a large database under load; scripts/try-migrations.sh says what that is."""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import book
from load import Load, LongReads, milliseconds
from processes import ROOT, Cluster, Machine, Service, clean_environment, wait_until

SAMPLES = ROOT / "scripts" / "migration-samples"
# How long a call may take while a migration runs, in seconds: it waits for a lock for half of this, as docs/operations.md
# tells. Where a machine is so slow that calls take long without any migration, three times that is added to the wait.
LONGEST, WAIT = 3, 1.5
# From so many entries on, a table that is written anew is noticed.
MANY = 1_000_000
# How long long reads take, in seconds: more than LONGEST, for a call that one try of a migration after the other holds up.
READING = 3.4
# In a small trial, these begin during long reads; in a large one, all do.
BESIDE_READS = ["9002_a_column_with_a_constant_default", "9011_an_index"]
# This migration begins while an autovacuum goes through its table, and may take so many seconds.
BESIDE_VACUUM, SOON = "9007_a_check_of_the_ledger", 30
# What a migration says that did not get its lock.
TRIED_AGAIN = "a migration waits for others"


def slowest_of(calls):
    return max((call.took() for call in calls), default=0)


@dataclasses.dataclass
class Migrated:
    """What came of one migration."""

    name: str
    took: float
    tries: int
    calls: list

    def slowest(self):
        return slowest_of(self.calls)

    def faults(self, longest):
        failures = [call.failure for call in self.calls if call.failure]
        if failures:
            yield f"{len(failures)} calls failed, such as: {failures[0]}"
        if self.slowest() > longest:
            yield f"a call took {self.slowest():.1f} s, and may take {longest:.1f} s"


class Trial:
    def __init__(self, cluster, load, migrate_one, entries):
        self.cluster = cluster
        self.load = load
        self.migrate_one = migrate_one
        time.sleep(10 if entries >= MANY else 2)
        self.before = list(load.calls)
        self.longest = max(LONGEST, WAIT + 3 * slowest_of(self.before))

    def run(self, name, *command):
        """Runs a program that migrates, with the calls that were under way meanwhile."""
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=book.BOUND)
        ended = time.monotonic()
        if done.returncode != 0:
            sys.exit(f"{name} ended with {done.returncode} after {ended - begun:.0f} s: {done.stdout}{done.stderr}")
        migrated = Migrated(name, ended - begun, 1 + done.stderr.count(TRIED_AGAIN), self.load.between(begun, ended))
        print(f"{name}: {migrated.took:.1f} s, tries {migrated.tries}; {milliseconds(migrated.calls)}", flush=True)
        return migrated

    def run_sample(self, path):
        return self.run(path.stem, self.migrate_one, self.cluster.url("goldbook_owner"), str(path))

    def run_beside_reads(self, path):
        reads = LongReads(self.load, self.cluster, READING)
        migrated = self.run_sample(path)
        reads.end()
        return migrated

    def run_beside_vacuum(self, path):
        """An autovacuum that would take minutes goes through the ledger, and has to make way."""
        sets = {
            "autovacuum_analyze_threshold": 0,
            "autovacuum_analyze_scale_factor": 0,
            "autovacuum_vacuum_cost_delay": 100,
            "autovacuum_vacuum_cost_limit": 1,
        }
        changes = ", ".join(f"{name} = {value}" for name, value in sets.items())
        self.cluster.sql(f"ALTER TABLE ledger_entries SET ({changes})", "goldbook")
        look = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'autovacuum:%ledger_entries%'"
        wait_until("an autovacuum of the ledger", lambda: self.cluster.sql(look) != "0")
        migrated = self.run_sample(path)
        self.cluster.sql(f"ALTER TABLE ledger_entries RESET ({', '.join(sets)})", "goldbook")
        if migrated.took > SOON:
            sys.exit(f"{path.stem} took {migrated.took:.0f} s beside an autovacuum, which must make way")
        return migrated


def newest(cluster):
    return int(cluster.sql("SELECT max(version) FROM _sqlx_migrations", "goldbook"))


def try_permitted(trial, new, entries):
    """What this version brings, and each of the samples that the linter permits."""
    release = newest(trial.cluster)
    done = [trial.run("goldbook migrate", new, "migrate", "--database-url", trial.cluster.url("goldbook_owner"))]
    print(f"the schema was {release}, and is {newest(trial.cluster)}", flush=True)
    paths = sorted((SAMPLES / "permitted").glob("*.sql"))
    for path in paths:
        if path.stem == BESIDE_VACUUM:
            done.append(trial.run_beside_vacuum(path))
        elif entries >= MANY or path.stem in BESIDE_READS:
            done.append(trial.run_beside_reads(path))
        else:
            done.append(trial.run_sample(path))
    print(f"before: {milliseconds(trial.before)}")
    print(f"meanwhile: {milliseconds([call for migrated in done for call in migrated.calls])}", flush=True)
    if all(migrated.tries == 1 for migrated in done):
        sys.exit("no migration had to wait for long reads, so this tries nothing")
    faults = [f"{migrated.name}: {fault}" for migrated in done for fault in migrated.faults(trial.longest)]
    if faults:
        sys.exit("\n".join(faults))


def try_refused(trial, entries):
    """Samples that the linter refuses: this has to notice them, too."""
    for path in sorted((SAMPLES / "refused").glob("*.sql")):
        is_noticed = list(trial.run_sample(path).faults(trial.longest))
        if is_noticed:
            print(f"{path.stem} is noticed: {'; '.join(is_noticed)}", flush=True)
        elif re.search("pg_sleep", path.read_text()) or (entries >= MANY and "written_anew" in path.stem):
            sys.exit(f"{path.stem} is not noticed")
        else:
            print(f"{path.stem} takes too little time to be noticed", flush=True)


def main(old, new, migrate_one, bin_dir):
    # So that whoever stops it stops all that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    old, new, migrate_one = (str(pathlib.Path(program).resolve()) for program in [old, new, migrate_one])
    entries = int(os.environ["ENTRIES"])
    begun = time.monotonic()
    with Machine(old, bin_dir) as machine:
        size = {"shared_buffers": "1GB", "max_wal_size": "8GB"} if entries >= MANY else {}
        cluster = Cluster(machine, "large").create().start(autovacuum_naptime="1s", **size).make_database()
        service = Service(machine, cluster.url()).ready()
        customers = book.fill(machine, cluster, service, entries)
        book.audit(old, cluster, "the last release")
        callers = 32 if entries >= MANY else 8
        with Load(service, customers, callers) as load:
            try_permitted(Trial(cluster, load, migrate_one, entries), new, entries)
        book.audit(new, cluster, "this version")
        with Load(service, customers, callers) as load:
            try_refused(Trial(cluster, load, migrate_one, entries), entries)
        service.end()
        cluster.end()
    print(f"took {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
