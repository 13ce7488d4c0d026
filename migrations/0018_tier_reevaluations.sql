-- Orders to apply a version of a program to every customer, and how far each has come. Who ordered it is in the ledger.
-- Whoever carries out a page of customers holds the lock on the row until the page is counted: so of several services one
-- is at it, and after a crash the page is gone through again, on which the ledger tells what was done already.
CREATE TABLE tier_reevaluations (
    -- The entry of the order, on the program's own account.
    account_id       uuid        NOT NULL,
    account_seq      bigint      NOT NULL,
    program_id       text        NOT NULL,
    version          integer     NOT NULL,
    downgrades       text        NOT NULL,
    ordered_at       timestamptz NOT NULL,
    -- The last customer who was gone through; absent before the first.
    after_account_id uuid,
    customers_done   bigint      NOT NULL DEFAULT 0,
    raised           bigint      NOT NULL DEFAULT 0,
    lowered          bigint      NOT NULL DEFAULT 0,
    redecided        bigint      NOT NULL DEFAULT 0,
    left_out         bigint      NOT NULL DEFAULT 0,
    ended_at         timestamptz,
    -- Whether another version came into force before the last customer.
    superseded       boolean     NOT NULL DEFAULT FALSE,
    CONSTRAINT tier_reevaluations_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT tier_reevaluations_downgrades_known CHECK (downgrades IN ('at_once', 'at_own_end')),
    CONSTRAINT tier_reevaluations_superseded_ended CHECK (NOT superseded OR ended_at IS NOT NULL)
);

-- Those that go on.
CREATE INDEX tier_reevaluations_open ON tier_reevaluations (program_id, ordered_at) WHERE ended_at IS NULL;

-- A row as a batch sends it.
CREATE TYPE sent_tier_reevaluation AS (
    account_id  uuid,
    account_seq bigint,
    program_id  text,
    version     integer,
    downgrades  text,
    ordered_at  timestamptz
);
