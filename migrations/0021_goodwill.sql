-- How much goodwill an account counts: a customer's what was given to them, a pot's what was drawn from it. In points, by the
-- calendar periods in which a local day lies: that of the last time. A projection of entries.
CREATE TABLE goodwill_counts (
    account_id uuid   NOT NULL,
    last_seq   bigint NOT NULL,
    day        date   NOT NULL,
    in_day     bigint NOT NULL,
    in_week    bigint NOT NULL,
    in_month   bigint NOT NULL,
    in_quarter bigint NOT NULL,
    in_half    bigint NOT NULL,
    in_year    bigint NOT NULL,
    CONSTRAINT goodwill_counts_pkey PRIMARY KEY (account_id),
    CONSTRAINT goodwill_counts_nested CHECK (
        0 < in_day AND in_day <= in_week AND in_day <= in_month AND in_month <= in_quarter AND in_quarter <= in_half
        AND in_half <= in_year
    )
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_goodwill_counts AS (
    account_id uuid,
    last_seq   bigint,
    day        date,
    in_day     bigint,
    in_week    bigint,
    in_month   bigint,
    in_quarter bigint,
    in_half    bigint,
    in_year    bigint
);

-- What was given to customers: a projection of entries.
CREATE TABLE goodwill (
    account_id    uuid        NOT NULL,
    account_seq   bigint      NOT NULL,
    -- The complaint that it was given for, by the entry that opened that.
    complaint_seq bigint,
    given_at      timestamptz NOT NULL,
    -- As how many points it counts, and the benefit, where it is one.
    value         bigint      NOT NULL,
    benefit_id    text,
    CONSTRAINT goodwill_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT goodwill_is_something CHECK (value > 0)
);

CREATE INDEX goodwill_of_complaints ON goodwill (account_id, complaint_seq, given_at, account_seq)
    WHERE complaint_seq IS NOT NULL;

-- A row as a batch sends it.
CREATE TYPE sent_goodwill AS (
    account_id    uuid,
    account_seq   bigint,
    complaint_seq bigint,
    given_at      timestamptz,
    value         bigint,
    benefit_id    text
);
