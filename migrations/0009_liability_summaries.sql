-- What a program owed its customers in points at an instant: sums over their accounts and lots, from one snapshot. Kept
-- for as long as a day's last; a projection that can be made anew only for the present.
CREATE TABLE liability_summaries (
    program_id  text        NOT NULL,
    -- Everything that took effect up to this instant is in it, and nothing later.
    taken_at    timestamptz NOT NULL,
    -- Numeric, because sums over customers may pass a bigint.
    issued      numeric     NOT NULL,
    owed        numeric     NOT NULL,
    pending     numeric     NOT NULL,
    available   numeric     NOT NULL,
    held        numeric     NOT NULL,
    redeemed    numeric     NOT NULL,
    expired     numeric     NOT NULL,
    cancelled   numeric     NOT NULL,
    -- Available and held points that expire within so many days.
    expiring_30  numeric    NOT NULL,
    expiring_90  numeric    NOT NULL,
    expiring_365 numeric    NOT NULL,
    -- How many accounts could not be read, and are in none of the sums.
    left_out     bigint     NOT NULL,
    CONSTRAINT liability_summaries_pkey PRIMARY KEY (program_id, taken_at),
    CONSTRAINT liability_summaries_points_conserved
        CHECK (issued + owed = pending + available + held + redeemed + expired + cancelled),
    CONSTRAINT liability_summaries_expiring_nested
        CHECK (expiring_30 <= expiring_90 AND expiring_90 <= expiring_365 AND expiring_365 <= available + held),
    CONSTRAINT liability_summaries_left_out_not_negative CHECK (left_out >= 0)
);

-- Who makes the summaries: of several services on one database, one at a time. It says nothing of what they are for.
CREATE TABLE liability_lease (
    one_row boolean     NOT NULL DEFAULT true,
    -- The process that has the lease, or had it last.
    holder  uuid        NOT NULL,
    -- Until when, by the database's clock, unless it is renewed.
    ends_at timestamptz NOT NULL,
    CONSTRAINT liability_lease_pkey PRIMARY KEY (one_row),
    CONSTRAINT liability_lease_one_row CHECK (one_row)
);
