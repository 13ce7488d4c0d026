"""Runs the checks of backups, failover and connection poolers, or those that are named."""

import signal
import sys
import time

import failover
import pooler
import restore
from processes import Machine

CHECKS = {"restore": restore, "failover": failover, "pooler": pooler}


def main(program, bin_dir, *names):
    # So that whoever stops it stops all that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    for name in names or CHECKS:
        begun = time.monotonic()
        with Machine(program, bin_dir) as machine:
            told = CHECKS[name].check(machine)
        print(f"{name}: {told} ({time.monotonic() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
