-- The tier that each customer holds now, and the progress that decides the next: a projection of entries.
CREATE TABLE standings (
    account_id       uuid        NOT NULL,
    tier_id          text        NOT NULL,
    since            timestamptz NOT NULL,
    policy_version   integer     NOT NULL,
    -- The entry that changed the tier, and the entry that caused the change.
    changed_seq      bigint      NOT NULL,
    cause_seq        bigint      NOT NULL,
    -- Lifetime spend in minor units of the program's currency.
    qualifying_spend bigint      NOT NULL,
    -- How many purchases above zero were accepted.
    purchases        bigint      NOT NULL,
    -- The last entry that changed this row.
    last_seq         bigint      NOT NULL,
    CONSTRAINT standings_pkey PRIMARY KEY (account_id),
    CONSTRAINT standings_progress_not_negative CHECK (qualifying_spend >= 0 AND purchases >= 0)
-- Room for the next versions, and vacuum, as in accounts.
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_standing AS (
    account_id       uuid,
    tier_id          text,
    since            timestamptz,
    policy_version   integer,
    changed_seq      bigint,
    cause_seq        bigint,
    qualifying_spend bigint,
    purchases        bigint,
    last_seq         bigint
);

-- What a customer's standing was after the first entry that changed it among each 64 of the account: so the standing at
-- any instant is one row and at most 63 entries. A projection of entries.
CREATE TABLE standing_marks (
    account_id       uuid        NOT NULL,
    -- The entry after which it was so.
    account_seq      bigint      NOT NULL,
    tier_id          text        NOT NULL,
    since            timestamptz NOT NULL,
    policy_version   integer     NOT NULL,
    changed_seq      bigint      NOT NULL,
    cause_seq        bigint      NOT NULL,
    qualifying_spend bigint      NOT NULL,
    purchases        bigint      NOT NULL,
    CONSTRAINT standing_marks_pkey PRIMARY KEY (account_id, account_seq)
);
