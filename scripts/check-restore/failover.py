"""A failover to a synchronous standby under load: the service goes on by itself, and nothing acknowledged is lost."""

from load import Load, check_all, check_present, replay
from processes import Cluster, Forwarder, Service, wait_until


def check(machine):
    primary = Cluster(machine, "first").create().start().make_database()
    standby = Cluster(machine, "second")
    machine.run(
        "pg_basebackup", "-h", primary.base, "-U", "postgres", "-D", standby.data, "-X", "stream", "-c", "fast",
        "-R", "-C", "-S", "second", "-d", "application_name=second",
    )  # fmt: skip
    standby.start()
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'second'")
    primary.sql("SELECT pg_reload_conf()")
    in_step = "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'second'"
    wait_until("the standby", lambda: primary.sql(in_step) == "sync")

    address = Forwarder(machine, primary)
    service = Service(machine, address.url()).ready()
    load = Load()
    load.enrol(machine, service)
    load.start(service)
    load.goes_on(300)
    # A standby can be audited, too, and remembers nothing of it.
    machine.audit(standby.url())
    load.goes_on(100)
    primary.kill()
    wait_until("health that says NOT_SERVING", lambda: service.is_serving() is False)
    # A short outage is waited for by the service, and a long one is told.
    wait_until("a call without an answer", lambda: load.unanswered)
    machine.run("pg_ctl", "-D", standby.data, "-w", "-s", "promote")
    address.target = standby
    wait_until("health that says SERVING", service.is_serving)
    load.goes_on(300)
    load.stop()
    if service.process.poll() is not None:
        raise AssertionError(f"the service ended:\n{service.log()}")
    calls = load.all()
    acknowledged = [call for call in calls if call.entry]
    unanswered = [call for call in calls if not call.entry]
    if not unanswered:
        raise AssertionError("no call was without an answer")
    with service.channel() as channel:
        check_present(channel, load, acknowledged)
        replayed = replay(channel, unanswered)
        check_all(channel, load)
    machine.audit(standby.url())
    service.end()
    standby.end()
    return (
        f"{len(acknowledged)} acknowledged calls were kept; {replayed} of {len(unanswered)} without an answer did "
        "their work when they were repeated"
    )
