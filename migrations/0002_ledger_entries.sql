-- The ledger: what happened to each account, and why. Rows are only ever added.
CREATE TABLE ledger_entries (
    account_id     uuid        NOT NULL,
    account_seq    bigint      NOT NULL,
    program_id     text        NOT NULL,
    kind           text        NOT NULL,
    -- For points: the pocket they left, the pocket they entered, how many.
    from_pocket    text,
    to_pocket      text,
    points         bigint,
    -- The results that the entry carries, typed and versioned in code; never a string that a caller chose. As the text
    -- that was hashed: so a version that knows fewer fields still proves it, and passes it on whole.
    detail         json        NOT NULL,
    command_id     uuid        NOT NULL,
    -- On the first entry of a command on its scope's account: its idempotency key and its content, both hashed.
    key_hash       bytea,
    fingerprint    bytea,
    -- Who called, by the id of a row of principals; all zeros where time alone wrote it.
    principal_id   uuid        NOT NULL,
    actor          text        NOT NULL,
    reason         text        NOT NULL,
    policy_version integer     NOT NULL,
    -- The public ids of the entries that caused this one.
    causes         text[]      NOT NULL,
    trace_id       bytea       NOT NULL,
    effective_at   timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    -- SHA-256 over all of the above, in the layout of this version.
    hash_version   smallint    NOT NULL,
    content_hash   bytea       NOT NULL,
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT ledger_entries_seq_positive CHECK (account_seq > 0),
    CONSTRAINT ledger_entries_move_whole CHECK (num_nulls(from_pocket, to_pocket, points) IN (0, 3)),
    CONSTRAINT ledger_entries_points_in_bounds CHECK (points BETWEEN 1 AND 1000000000000),
    CONSTRAINT ledger_entries_pockets_differ CHECK (from_pocket <> to_pocket),
    CONSTRAINT ledger_entries_key_whole CHECK (num_nulls(key_hash, fingerprint) IN (0, 2)),
    CONSTRAINT ledger_entries_hash_lengths CHECK (
        octet_length(content_hash) = 32 AND octet_length(trace_id) = 16
        AND octet_length(key_hash) = 32 AND octet_length(fingerprint) = 32
    )
-- Rows never change, so vacuum has each page to mark once, as seen by everybody and frozen. It comes for every million rows,
-- however many there are, and freezes at once: so no vacuum ever has to read the whole ledger again, not even the one that
-- Postgres forces before its transaction ids are used up.
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_freeze_min_age = 0
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_entry AS (
    account_id     uuid,
    account_seq    bigint,
    program_id     text,
    kind           text,
    from_pocket    text,
    to_pocket      text,
    points         bigint,
    detail         json,
    command_id     uuid,
    key_hash       bytea,
    fingerprint    bytea,
    principal_id   uuid,
    actor          text,
    reason         text,
    policy_version integer,
    causes         text[],
    trace_id       bytea,
    effective_at   timestamptz,
    recorded_at    timestamptz,
    hash_version   smallint,
    content_hash   bytea
);

-- A key is used once on its account, for ever.
CREATE UNIQUE INDEX ledger_entries_key_once ON ledger_entries (account_id, key_hash) WHERE key_hash IS NOT NULL;

-- Finds an account's changes of tier, of which there are few among its entries: `ListTierChanges`.
CREATE INDEX ledger_entries_tiers ON ledger_entries (account_id, account_seq)
    WHERE kind IN ('tier_changed', 'tier_imported', 'tier_overridden', 'tier_released');

-- Finds what callers did that auditors look at, by when it was written: `ListPrivilegedActions`. A reversal may be several
-- entries, or a debt alone: the first of them stands for it, which has the key. One that a refund brings is no action.
CREATE INDEX ledger_entries_privileged ON ledger_entries (program_id, kind, recorded_at, account_id, account_seq)
    WHERE kind IN ('program_applied', 'points_adjusted', 'entry_reversed', 'debt_incurred', 'entries_exported',
                   'customer_exported', 'customer_erased', 'tier_overridden', 'tier_released', 'entitlement_granted',
                   'entitlement_revoked', 'reevaluation_ordered', 'value_model_fitted')
      AND actor = 'caller' AND (key_hash IS NOT NULL OR kind NOT IN ('entry_reversed', 'debt_incurred'));

-- Finds what was written at or since an instant: `goldbook trace`, `goldbook audit --since-last`. Rows are added nearly in this order, so that a few
-- bytes say it of 4 MiB of them, and a write has next to nothing to do for it. What was added last has no entry before
-- autovacuum comes by, and is read whole until then.
CREATE INDEX ledger_entries_recorded ON ledger_entries USING brin (recorded_at)
    WITH (pages_per_range = 512, autosummarize = on);

CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_entries is append-only: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'Correct a mistake with another entry.';
END
$$;

CREATE TRIGGER ledger_entries_refuse_row_change
    BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();

CREATE TRIGGER ledger_entries_refuse_truncate
    BEFORE TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();

-- ALWAYS: also for a session with session_replication_role = replica.
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_refuse_row_change;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_refuse_truncate;

-- What a caller wrote beside an entry: erasable, so never in the ledger itself.
CREATE TABLE entry_notes (
    account_id  uuid   NOT NULL,
    account_seq bigint NOT NULL,
    note        text   NOT NULL,
    -- Who did it, as the caller says; empty where that was not asked.
    author      text   NOT NULL DEFAULT '',
    CONSTRAINT entry_notes_pkey PRIMARY KEY (account_id, account_seq)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_note AS (
    account_id  uuid,
    account_seq bigint,
    note        text,
    author      text
);
