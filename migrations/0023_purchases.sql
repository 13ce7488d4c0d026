-- What was bought, and what was given back of it: a row for each purchase and for each refund. A projection of entries, which stays
-- when a customer is erased, since it names nobody. Program-wide questions are sums of these: who bought again, who came back, what
-- it brought.
CREATE TABLE purchases (
    account_id   uuid        NOT NULL,
    -- The entry that accepted it.
    account_seq  bigint      NOT NULL,
    program_id   text        NOT NULL,
    -- The local day of the purchase; of a refund, that of what was given back.
    day          date        NOT NULL,
    effective_at timestamptz NOT NULL,
    -- What it adds to what was spent, in minor units of the program's currency: below zero of a refund.
    spend        bigint      NOT NULL,
    -- What it adds to what that brought, by the margin that was told with it.
    margin       bigint      NOT NULL,
    -- What it adds to the number of purchases: 1; of a refund, -1 where nothing is left of the purchase, else 0.
    visits       smallint    NOT NULL,
    CONSTRAINT purchases_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT purchases_add_up CHECK (CASE WHEN visits = 1 THEN spend >= 0 ELSE spend < 0 AND visits BETWEEN -1 AND 0 END)
-- Vacuum marks and freezes each page once, as in ledger_entries.
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_freeze_min_age = 0
);

-- The days of a program.
CREATE INDEX purchases_by_day ON purchases (program_id, day);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_purchase AS (
    account_id   uuid,
    account_seq  bigint,
    program_id   text,
    day          date,
    effective_at timestamptz,
    spend        bigint,
    margin       bigint,
    visits       smallint
);

-- The models of what customers will buy, whose entries tell the rest: a projection of entries.
CREATE TABLE value_models (
    -- The entry by which it was fitted, on the program's own account.
    account_id   uuid        NOT NULL,
    account_seq  bigint      NOT NULL,
    program_id   text        NOT NULL,
    version      integer     NOT NULL,
    effective_at timestamptz NOT NULL,
    CONSTRAINT value_models_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT value_models_version_once UNIQUE (program_id, version),
    CONSTRAINT value_models_version_positive CHECK (version > 0)
);

-- A row as a batch sends it.
CREATE TYPE sent_value_model AS (
    account_id   uuid,
    account_seq  bigint,
    program_id   text,
    version      integer,
    effective_at timestamptz
);
