-- The points of one grant and where they are: a projection of entries.
CREATE TABLE lots (
    account_id     uuid        NOT NULL,
    -- The entry that granted them.
    lot_seq        bigint      NOT NULL,
    points         bigint      NOT NULL,
    pending        bigint      NOT NULL,
    available      bigint      NOT NULL,
    held           bigint      NOT NULL,
    redeemed       bigint      NOT NULL,
    expired        bigint      NOT NULL,
    cancelled      bigint      NOT NULL,
    -- Points that paid a debt.
    repaid         bigint      NOT NULL,
    policy_version integer     NOT NULL,
    -- Since when they have been available.
    live_since     timestamptz,
    vests_at       timestamptz,
    -- The deadline of what they are granted for.
    vest_by        timestamptz,
    expires_at     timestamptz,
    -- Whether they expire with all others that do, by the customer's last activity.
    slides         boolean     NOT NULL,
    -- The rule that says when they expire once they have vested, where that is not known yet.
    expiry_rule    text,
    -- What was taken elsewhere when they were clawed back, since they were spent or held: a debt, and other lots.
    made_up        jsonb,
    -- The last entries that moved their points, at most 16, in order; those before them are in lot_uses.
    uses           bigint[],
    -- For the indexes: unlike the number, it seldom changes, so a spend that leaves something needs no index entry.
    has_available  boolean     GENERATED ALWAYS AS (available > 0) STORED,
    CONSTRAINT lots_pkey PRIMARY KEY (account_id, lot_seq),
    CONSTRAINT lots_pockets_not_negative
        CHECK (least(pending, available, held, redeemed, expired, cancelled, repaid) >= 0),
    CONSTRAINT lots_points_conserved
        CHECK (points = pending + available + held + redeemed + expired + cancelled + repaid),
    CONSTRAINT lots_pending_has_due CHECK (pending = 0 OR num_nonnulls(vests_at, vest_by) = 1)
-- Room on each page for the next versions of its rows. Once a lot is used up, it leaves an index: the entries that this
-- leaves behind go by vacuum, as in accounts.
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_lot AS (
    account_id     uuid,
    lot_seq        bigint,
    points         bigint,
    pending        bigint,
    available      bigint,
    held           bigint,
    redeemed       bigint,
    expired        bigint,
    cancelled      bigint,
    repaid         bigint,
    policy_version integer,
    live_since     timestamptz,
    vests_at       timestamptz,
    vest_by        timestamptz,
    expires_at     timestamptz,
    slides         boolean,
    expiry_rule    text,
    made_up        jsonb,
    uses           bigint[]
);

-- Each lot is in at most one of these three: a grant writes one of them beside the primary key.
-- Lots in the order in which they vest or miss their event: dues, and what a balance says vests next.
CREATE INDEX lots_pending ON lots (account_id, coalesce(vests_at, vest_by), lot_seq) WHERE pending > 0;
-- Lots in spending order, which is the order in which they expire: spends, dues, and what a balance says expires next.
CREATE INDEX lots_spendable ON lots (account_id, coalesce(expires_at, 'infinity'), lot_seq)
    WHERE has_available AND NOT slides;
-- The same of lots that slide: they expire at one instant, the oldest first.
CREATE INDEX lots_sliding ON lots (account_id, lot_seq) WHERE has_available AND slides;
-- The newest lots whose points paid a debt, which get them back if the debt is forgiven.
CREATE INDEX lots_payers ON lots (account_id, lot_seq) WHERE repaid > 0;

-- The entries that moved points of a lot, but for the last ones, which the lot's own row has. A projection of entries.
CREATE TABLE lot_uses (
    account_id uuid     NOT NULL,
    lot_seq    bigint   NOT NULL,
    -- The last of these entries.
    last_seq   bigint   NOT NULL,
    -- Sixteen entries by their numbers, in order.
    seqs       bigint[] NOT NULL,
    CONSTRAINT lot_uses_pkey PRIMARY KEY (account_id, lot_seq, last_seq),
    CONSTRAINT lot_uses_last CHECK (seqs[cardinality(seqs)] = last_seq)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_uses AS (
    account_id uuid,
    lot_seq    bigint,
    last_seq   bigint,
    seqs       bigint[]
);

-- Points set aside for a spend: a projection of entries.
CREATE TABLE holds (
    account_id     uuid        NOT NULL,
    -- The entry that made it.
    hold_seq       bigint      NOT NULL,
    points         bigint      NOT NULL,
    policy_version integer     NOT NULL,
    ends_at        timestamptz NOT NULL,
    -- What is still held: lots, and how many points of each. Empty once the hold has ended.
    lot_seqs       bigint[]    NOT NULL,
    lot_points     bigint[]    NOT NULL,
    -- The first entry that ended it.
    ended_seq      bigint,
    CONSTRAINT holds_pkey PRIMARY KEY (account_id, hold_seq),
    CONSTRAINT holds_points_positive CHECK (points > 0),
    CONSTRAINT holds_parts_whole CHECK (cardinality(lot_seqs) = cardinality(lot_points))
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_hold AS (
    account_id     uuid,
    hold_seq       bigint,
    points         bigint,
    policy_version integer,
    ends_at        timestamptz,
    lot_seqs       bigint[],
    lot_points     bigint[],
    ended_seq      bigint
);

CREATE INDEX holds_open ON holds (account_id, ends_at, hold_seq) WHERE cardinality(lot_seqs) > 0;

-- What concerns all lots of a customer together, where the program has sliding expiry or caps on earning: a projection
-- of entries.
CREATE TABLE earnings (
    account_id uuid          NOT NULL,
    -- Until when the sliding points last.
    slides_to  timestamptz,
    -- When they expired all together, each time.
    lapses     timestamptz[] NOT NULL,
    -- For each kind of capped period: the first day of the last one, the points earned in it, and the program version under
    -- which they were counted last.
    earned     jsonb         NOT NULL,
    CONSTRAINT earnings_pkey PRIMARY KEY (account_id)
-- Room on each page for the next versions of its rows, which need no index entry then.
) WITH (fillfactor = 70);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_earning AS (
    account_id uuid,
    slides_to  timestamptz,
    lapses     timestamptz[],
    earned     jsonb
);

-- How much of an entry has been undone, where anything has: points, or of a purchase minor units of money. A projection
-- of entries.
CREATE TABLE reversals (
    account_id uuid   NOT NULL,
    entry_seq  bigint NOT NULL,
    reversed   bigint NOT NULL,
    -- How much of it by refunds.
    by_refunds bigint NOT NULL,
    CONSTRAINT reversals_pkey PRIMARY KEY (account_id, entry_seq),
    CONSTRAINT reversals_not_negative CHECK (by_refunds BETWEEN 0 AND reversed)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_reversal AS (
    account_id uuid,
    entry_seq  bigint,
    reversed   bigint,
    by_refunds bigint
);
