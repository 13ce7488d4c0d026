-- Audits that came to their end: the last ones of each extent, and the one that the next audit begins after. Reports, which
-- nothing in the ledger says again.
CREATE TABLE audits (
    audit_id    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    -- Whether it read the whole ledger, or the accounts that were written to since another one.
    extent      text        NOT NULL,
    -- It read the accounts with an entry that was recorded later; absent if it read all of them.
    since       timestamptz,
    -- Whatever was recorded by then was there to be read. Absent if its role could not see which batches were under way.
    covers      timestamptz,
    begun_at    timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    accounts    bigint      NOT NULL,
    entries     bigint      NOT NULL,
    differences bigint      NOT NULL,
    -- Differences that it did not repair. None: it is clean.
    remaining   bigint      NOT NULL,
    -- The version of the program.
    version     text        NOT NULL,
    CONSTRAINT audits_pkey PRIMARY KEY (audit_id),
    CONSTRAINT audits_extent_known CHECK (extent IN ('full', 'since_last')),
    CONSTRAINT audits_since_fits_extent CHECK ((extent = 'since_last') = (since IS NOT NULL)),
    CONSTRAINT audits_counts_not_negative CHECK (least(accounts, entries, differences, remaining) >= 0)
);
