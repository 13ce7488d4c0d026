"""What Postgres counts: rows, bytes, log, commits and pages; and the difference of two looks at it."""

import dataclasses
import json
import re
import sys
import time

from processes import wait_until

TABLES = """
    SELECT json_object_agg(s.relname, json_build_object(
        'inserted', n_tup_ins, 'changed', n_tup_upd, 'hot', n_tup_hot_upd, 'removed', n_tup_del,
        'heap', pg_table_size(s.relid), 'indexes', pg_indexes_size(s.relid)))
    FROM pg_stat_user_tables s
"""
# Since 17 checkpoints have a view of their own, and since 18 the log is among all I/O.
CHECKPOINTS = {15: "SELECT buffers_checkpoint FROM pg_stat_bgwriter", 17: "SELECT buffers_written FROM pg_stat_checkpointer"}
SYNCS = {15: "SELECT wal_sync FROM pg_stat_wal", 18: "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"}
READS = "SELECT blks_read FROM pg_stat_database WHERE datname = 'goldbook'"


@dataclasses.dataclass
class Look:
    """What was counted since ever."""

    lsn: str
    wal_bytes: int
    transactions: int
    syncs: int
    pages_read: int
    tables: dict


@dataclasses.dataclass
class Cost:
    """What so many of a kind came to."""

    count: int
    seconds: float
    # Also what was rolled back.
    tables: dict
    # Rows that were added and stayed, by table; empty where they were not counted.
    rows: dict
    wal_bytes: int
    # The log without the pages that are written whole after a checkpoint, and those pages.
    record_bytes: int
    page_images: int
    image_bytes: int
    commits: int
    syncs: int
    pages_read: int
    # By the checkpoint that follows.
    pages_written: int

    def per_thousand(self, amount):
        return amount * 1000 / self.count

    def table_sum(self, *names):
        return sum(counts[name] for counts in self.tables.values() for name in names)


class Meter:
    """Looks at a cluster while no service is there, so that everything is counted."""

    def __init__(self, machine, cluster):
        self.machine = machine
        self.cluster = cluster
        self.major = int(cluster.sql("SHOW server_version_num")) // 10000

    def number(self, statement):
        return int(self.cluster.sql(statement, database="goldbook"))

    def of_this_version(self, statements):
        return statements[max(major for major in statements if major <= self.major)]

    def look(self):
        # A session tells what it counted when it ends.
        left = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'goldbook_service'"
        wait_until("the end of the service's sessions", lambda: self.number(left) == 0)
        behind = "SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()"
        wait_until("that the log is on the disk", lambda: self.number(behind) <= 0)
        lsn, wal_bytes, transactions, tables = self.cluster.sql(
            "SELECT pg_current_wal_insert_lsn(), pg_current_wal_insert_lsn() - '0/0',"
            f" pg_snapshot_xmax(pg_current_snapshot()), ({TABLES})",
            database="goldbook",
        ).split("|", 3)
        return Look(
            lsn,
            int(wal_bytes),
            int(transactions),
            self.number(self.of_this_version(SYNCS)),
            self.number(READS),
            json.loads(tables),
        )

    def checkpoint(self):
        """Lets Postgres write all that waits in memory, and returns how many pages that were."""
        before = self.number(self.of_this_version(CHECKPOINTS))
        self.cluster.sql("CHECKPOINT")
        # The checkpointer tells what it counted a moment later.
        time.sleep(1)
        return self.number(self.of_this_version(CHECKPOINTS)) - before

    def log_between(self, begin, end):
        """The bytes of records, and those of whole pages."""
        # Without segments, it asks any file of the folder how large one is, also one that Postgres has only made ready.
        segments = self.cluster.sql(f"SELECT pg_walfile_name('{begin}'::pg_lsn + 1), pg_walfile_name('{end}')").split("|")
        folder = self.cluster.data / "pg_wal"
        said = self.machine.run("pg_waldump", "--stats", "--path", folder, "--start", begin, "--end", end, *segments)
        # Such as: Total   32   2390 [22.63%]   8171 [77.37%]   10561 [100%]
        total = re.search(r"^Total +\d+ +(\d+) \[.*?\] +(\d+) \[", said, re.MULTILINE)
        if not total:
            sys.exit(f"pg_waldump tells no total: {said}")
        return int(total[1]), int(total[2])

    def rows(self):
        """How many rows each table has. All of them are read for it."""
        tables = self.cluster.sql("SELECT relname FROM pg_stat_user_tables ORDER BY relname", "goldbook").split()
        counts = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in tables)
        lines = self.cluster.sql(counts, "goldbook").splitlines()
        return {table: int(count) for table, count in (line.split("|") for line in lines)}

    def cost(self, count, work, counted=True):
        """What this work comes to, of which so many are done."""
        images = "SELECT wal_fpi FROM pg_stat_wal"
        rows_before = self.rows() if counted else {}
        before, images_before, begun = self.look(), self.number(images), time.monotonic()
        work()
        seconds = time.monotonic() - begun
        after, page_images = self.look(), self.number(images) - images_before
        record_bytes, image_bytes = self.log_between(before.lsn, after.lsn)
        rows_after = self.rows() if counted else {}
        nothing = dict.fromkeys(["inserted", "changed", "hot", "removed", "heap", "indexes"], 0)
        tables = {
            table: {name: value - before.tables.get(table, nothing)[name] for name, value in counts.items()}
            for table, counts in after.tables.items()
        }
        return Cost(
            count=count,
            seconds=seconds,
            tables={table: counts for table, counts in tables.items() if any(counts.values())},
            rows={table: rows - rows_before[table] for table, rows in rows_after.items() if rows != rows_before[table]},
            wal_bytes=after.wal_bytes - before.wal_bytes,
            record_bytes=record_bytes,
            page_images=page_images,
            image_bytes=image_bytes,
            commits=after.transactions - before.transactions,
            syncs=after.syncs - before.syncs,
            pages_read=after.pages_read - before.pages_read,
            pages_written=self.checkpoint(),
        )
