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
    -- When time alone will do something to them, by their own terms.
    due_at         timestamptz GENERATED ALWAYS AS (
        CASE WHEN pending > 0 THEN coalesce(vests_at, vest_by) WHEN available > 0 AND NOT slides THEN expires_at END
    ) STORED,
    CONSTRAINT lots_pkey PRIMARY KEY (account_id, lot_seq),
    CONSTRAINT lots_pockets_not_negative
        CHECK (least(pending, available, held, redeemed, expired, cancelled, repaid) >= 0),
    CONSTRAINT lots_points_conserved
        CHECK (points = pending::numeric + available + held + redeemed + expired + cancelled + repaid),
    CONSTRAINT lots_pending_has_due CHECK (pending = 0 OR num_nonnulls(vests_at, vest_by) = 1)
);

CREATE INDEX lots_due ON lots (account_id, due_at, lot_seq) WHERE due_at IS NOT NULL;
CREATE INDEX lots_available ON lots (account_id, lot_seq) WHERE available > 0;
-- The newest lots whose points paid a debt, which get them back if the debt is forgiven.
CREATE INDEX lots_payers ON lots (account_id, lot_seq) WHERE repaid > 0;

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
    CONSTRAINT holds_pkey PRIMARY KEY (account_id, hold_seq),
    CONSTRAINT holds_points_positive CHECK (points > 0),
    CONSTRAINT holds_parts_whole CHECK (cardinality(lot_seqs) = cardinality(lot_points))
);

CREATE INDEX holds_open ON holds (account_id, ends_at, hold_seq) WHERE cardinality(lot_seqs) > 0;

-- What concerns all lots of a customer together, where the program has sliding expiry or caps on earning: a projection
-- of entries.
CREATE TABLE earnings (
    account_id uuid        NOT NULL,
    -- Until when the sliding points last.
    slides_to  timestamptz,
    -- When they expired all together, each time.
    lapses     jsonb       NOT NULL,
    -- Points earned in the last capped period of each kind.
    earned     jsonb       NOT NULL,
    CONSTRAINT earnings_pkey PRIMARY KEY (account_id)
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
