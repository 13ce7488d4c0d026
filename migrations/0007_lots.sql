-- The points of one grant and what is left of them: a projection of entries.
CREATE TABLE lots (
    account_id uuid   NOT NULL,
    -- The entry that granted them.
    lot_seq    bigint NOT NULL,
    points     bigint NOT NULL,
    remaining  bigint NOT NULL,
    CONSTRAINT lots_pkey PRIMARY KEY (account_id, lot_seq),
    CONSTRAINT lots_remaining_within CHECK (remaining BETWEEN 0 AND points)
);
