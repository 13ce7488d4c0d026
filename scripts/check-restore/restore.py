"""A restore to an instant: what was acknowledged before is there, and callers bring back the rest by their keys."""

import shutil

from load import Load, check_all, check_present, replay
from processes import Cluster, Service, wait_until


def check(machine):
    archive = machine.directory / "archive"
    archive.mkdir()
    if machine.account:
        shutil.chown(archive, machine.account.pw_uid, machine.account.pw_gid)
    # docs/operations.md says the same.
    archiving = {"archive_mode": "on", "archive_command": f"test ! -f {archive}/%f && cp %p {archive}/%f"}
    primary = Cluster(machine, "primary").create().start(**archiving).make_database()
    service = Service(machine, primary.url()).ready()
    load = Load()
    load.enrol(machine, service)
    load.start(service)
    load.goes_on(100)
    backup = machine.directory / "backup"
    machine.run("pg_basebackup", "-h", primary.base, "-U", "postgres", "-D", backup, "-X", "none", "-c", "fast")
    machine.run("pg_verifybackup", "--no-parse-wal", backup)
    load.goes_on(300)
    machine.audit(primary.url())
    load.goes_on(100)
    instant = primary.sql("SELECT clock_timestamp()")
    target = float(primary.sql(f"SELECT extract(epoch FROM '{instant}'::timestamptz)"))
    load.goes_on(300)
    # One that the restore must not know.
    machine.audit(primary.url(), "--since-last")
    last = primary.sql("SELECT pg_walfile_name(pg_switch_wal())")
    wait_until("the archive", lambda: (archive / last).exists())
    load.goes_on(100)
    primary.kill()
    wait_until("a call without an answer", lambda: load.unanswered)
    service.kill()
    load.stop()

    restored = Cluster(machine, "restored")
    machine.run_as_database("cp", "-a", backup, restored.data)
    machine.run_as_database("touch", restored.data / "recovery.signal")
    restored.start(
        restore_command=f"cp {archive}/%f %p",
        recovery_target_time=instant,
        recovery_target_action="promote",
        archive_mode="off",
    )
    wait_until("the end of the recovery", lambda: restored.sql("SELECT pg_is_in_recovery()") == "f")
    machine.audit(restored.url())
    if restored.sql("SELECT count(*) FROM audits WHERE extent = 'since_last'", "goldbook") != "0":
        raise AssertionError("the restore knows an audit of after its instant")
    service = Service(machine, restored.url()).ready()
    calls = load.all()
    before = [call for call in calls if call.entry and call.answered_at < target]
    after = [call for call in calls if call.entry and call.sent_at > target]
    unanswered = [call for call in calls if not call.entry]
    if min(len(before), len(after), len(unanswered)) == 0:
        raise AssertionError(f"{len(before)} calls before, {len(after)} after, {len(unanswered)} unanswered")
    with service.channel() as channel:
        check_present(channel, load, before, after)
        # All keys: nobody needs to know which calls the restore has.
        replayed = replay(channel, calls)
        if not len(after) <= replayed <= len(calls) - len(before):
            raise AssertionError(f"{replayed} calls were carried out again, and {len(after)} were lost")
        check_all(channel, load)
        if replay(channel, calls) != 0:
            raise AssertionError("a second replay carried something out")
        check_all(channel, load)
    machine.audit(restored.url(), "--since-last")
    machine.audit(restored.url())
    service.end()
    restored.end()
    return (
        f"{len(before)} calls acknowledged before the instant were there, {len(after)} after it were gone; "
        f"{replayed} of {len(calls)} keys did their work anew, {len(unanswered)} of which had no answer yet"
    )
