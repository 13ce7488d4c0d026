-- The heads of the ledger: one row for each customer and each program, locked by whoever writes to it.
-- Everything but the identity is a projection of the account's entries.
CREATE TABLE accounts (
    account_id   uuid        NOT NULL,
    program_id   text        NOT NULL,
    kind         text        NOT NULL,
    -- The number of the account's last entry; a missing row shows as a gap below it.
    head         bigint      NOT NULL,
    -- The instant of the last entry: the account's time never goes back behind it.
    effective_at timestamptz NOT NULL,
    -- The earliest instant at which time alone may do something to the account; may be early, never late.
    next_due_at  timestamptz,
    -- When its customer was erased; nothing says any more who they were.
    erased_at    timestamptz,
    issued       bigint      NOT NULL,
    owed         bigint      NOT NULL,
    pending      bigint      NOT NULL,
    available    bigint      NOT NULL,
    held         bigint      NOT NULL,
    redeemed     bigint      NOT NULL,
    expired      bigint      NOT NULL,
    cancelled    bigint      NOT NULL,
    CONSTRAINT accounts_pkey PRIMARY KEY (account_id),
    CONSTRAINT accounts_kind_known CHECK (kind IN ('customer', 'program', 'pot')),
    CONSTRAINT accounts_head_positive CHECK (head > 0),
    CONSTRAINT accounts_pockets_not_negative
        CHECK (least(issued, owed, pending, available, held, redeemed, expired, cancelled) >= 0),
    -- Points come from somewhere and go somewhere. A sum that passes a bigint is refused, too. Sums of numeric would take
    -- ten times as long, in every write.
    CONSTRAINT accounts_points_conserved
        CHECK (issued + owed = pending + available + held + redeemed + expired + cancelled)
-- Room on each page for the next versions of its rows: next_due_at changes seldom, so they need no index entry.
) WITH (
    fillfactor = 70,
    -- Where a version did need one, the old entry goes by vacuum alone: of 100 million rows after 2 million, and not after
    -- a fifth of them.
    autovacuum_vacuum_scale_factor = 0.02
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_account AS (
    account_id   uuid,
    program_id   text,
    kind         text,
    head         bigint,
    effective_at timestamptz,
    next_due_at  timestamptz,
    erased_at    timestamptz,
    issued       bigint,
    owed         bigint,
    pending      bigint,
    available    bigint,
    held         bigint,
    redeemed     bigint,
    expired      bigint,
    cancelled    bigint
);

-- Finds the accounts that time has something to do to.
CREATE INDEX accounts_due ON accounts (next_due_at) WHERE next_due_at IS NOT NULL;

-- Where an account's points were after every 64th of its entries: so its balance at any instant is one row and at most
-- 63 entries, however many it has. A projection of entries.
CREATE TABLE balances (
    account_id  uuid   NOT NULL,
    -- The entry after which it was so: a multiple of 64.
    account_seq bigint NOT NULL,
    issued      bigint NOT NULL,
    owed        bigint NOT NULL,
    pending     bigint NOT NULL,
    available   bigint NOT NULL,
    held        bigint NOT NULL,
    redeemed    bigint NOT NULL,
    expired     bigint NOT NULL,
    cancelled   bigint NOT NULL,
    CONSTRAINT balances_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT balances_seq_is_every_64th CHECK (account_seq > 0 AND account_seq % 64 = 0)
);

-- A row as a batch sends it.
CREATE TYPE sent_balance AS (
    account_id  uuid,
    account_seq bigint,
    issued      bigint,
    owed        bigint,
    pending     bigint,
    available   bigint,
    held        bigint,
    redeemed    bigint,
    expired     bigint,
    cancelled   bigint
);

-- Names that are unique beyond an account. Whoever inserts the row owns the name. A person is forgotten by removing
-- theirs: the ledger knows accounts only.
CREATE TABLE names (
    program_id text COLLATE "C" NOT NULL,
    space      text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    account_id uuid NOT NULL,
    -- The name first: it tells most of them apart by one comparison.
    CONSTRAINT names_pkey PRIMARY KEY (name, program_id, space),
    CONSTRAINT names_space_known CHECK (space IN ('program', 'customer', 'referral_code', 'pot'))
);

-- A name that a batch looks up: with a key whose use on the owner's account is asked about, and whether the account is to
-- be locked.
CREATE TYPE wanted_name AS (
    place        bigint,
    program_id   text,
    space        text,
    name         text,
    key_hash     bytea,
    is_locked    boolean,
    with_related boolean
);
