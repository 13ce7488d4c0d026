"""PgBouncer passes on in no mode what the service asks of its sessions, so nothing of Goldbook begins behind one."""

from load import Load, check_all
from processes import Cluster, PgBouncer, Service

# What PgBouncer is told to leave out: as it is installed, a step further, and all that the service asks for.
IGNORED = ["", "extra_float_digits", "extra_float_digits, options"]
SAYS = "a connection pooler keeps from Postgres how its sessions must be"


def check(machine):
    cluster = Cluster(machine, "pooled").create().start().make_database()
    tried = 0
    for mode in ["transaction", "session"]:
        for ignored in IGNORED:
            pooler = PgBouncer(machine, cluster, f"{mode}-{tried}", mode, ignored)
            tried += 1
            if "options" in ignored:
                check_options_are_left_out(machine, pooler)
            log = Service(machine, pooler.url()).refused()
            if SAYS not in log or '"listening"' in log or "waiting for" in log:
                raise AssertionError(f"behind PgBouncer, {mode}, {ignored!r}, a service says:\n{log}")
            migrate = machine.goldbook("migrate", "--database-url", pooler.url("goldbook_owner"), status=1)
            audit = machine.goldbook("audit", "--database-url", pooler.url(), status=2)
            if SAYS not in migrate or SAYS not in audit:
                raise AssertionError(f"behind PgBouncer, {mode}, {ignored!r}: {migrate}{audit}")
            # PgBouncer keeps its connections to Postgres, and the migration must have left no lock on one.
            machine.goldbook("migrate", "--database-url", cluster.url("goldbook_owner"))
    # Past PgBouncer, the same database serves.
    service = Service(machine, cluster.url()).ready()
    load = Load()
    load.enrol(machine, service)
    with service.channel() as channel:
        check_all(channel, load)
    machine.audit(cluster.url())
    service.end()
    cluster.end()
    return f"{tried} times, a service, a migration and an audit refused to begin behind PgBouncer, and went on past it"


def check_options_are_left_out(machine, pooler):
    """If PgBouncer passed on the options of a connection in this mode, the service could do without its refusal."""
    command = [machine.bin_dir / "psql", "--no-psqlrc", "-tA", "-c", "SHOW lock_timeout", "-d"]
    direct, pooled = (
        machine.run_as_database("env", "PGOPTIONS=-c lock_timeout=7s", *command, url)
        for url in [pooler.cluster.url(), pooler.url()]
    )
    if (direct, pooled) != ("7s", "0"):
        raise AssertionError(f"lock_timeout is {direct} at Postgres and {pooled} behind PgBouncer, not 7s and 0")
