-- What customers used of their benefits: projections of entries.

-- A row for each use and each reversal of one, with how often the benefit has been used from then on. The last row of a
-- benefit tells the present; the last by an instant tells that instant. So nothing that is read grows with a history.
CREATE TABLE benefit_uses (
    account_id       uuid        NOT NULL,
    -- The entry of the use, or of its reversal.
    account_seq      bigint      NOT NULL,
    benefit_id       text        NOT NULL,
    used_at          timestamptz NOT NULL,
    -- How many uses it counts as; of a reversal, how many it takes off.
    counted          bigint      NOT NULL,
    -- The entry of the use that this one reverses.
    reverses_seq     bigint,
    -- The periods that the counts are of: the calendar's by one of their local days, the tier's by the entry that began it.
    day              date        NOT NULL,
    tier_period      bigint      NOT NULL,
    in_tier_period   bigint      NOT NULL,
    in_month         bigint      NOT NULL,
    in_quarter       bigint      NOT NULL,
    in_half          bigint      NOT NULL,
    in_year          bigint      NOT NULL,
    in_all           bigint      NOT NULL,
    CONSTRAINT benefit_uses_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT benefit_uses_count CHECK (counted > 0),
    CONSTRAINT benefit_uses_not_negative CHECK (
        in_tier_period >= 0 AND in_month >= 0 AND in_quarter >= 0 AND in_half >= 0 AND in_year >= 0 AND in_all >= 0
    )
);

CREATE INDEX benefit_uses_by_benefit ON benefit_uses (account_id, benefit_id, used_at, account_seq);

-- A use is reversed once.
CREATE UNIQUE INDEX benefit_uses_reversed_once ON benefit_uses (account_id, reverses_seq) WHERE reverses_seq IS NOT NULL;

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_benefit_use AS (
    account_id       uuid,
    account_seq      bigint,
    benefit_id       text,
    used_at          timestamptz,
    counted          bigint,
    reverses_seq     bigint,
    day              date,
    tier_period      bigint,
    in_tier_period   bigint,
    in_month         bigint,
    in_quarter       bigint,
    in_half          bigint,
    in_year          bigint,
    in_all           bigint
);

-- The tier periods that began after the one with which each customer joined: where quotas of a tier period count anew.
CREATE TABLE tier_periods (
    account_id       uuid        NOT NULL,
    -- The entry by which the tier was renewed, lost at its end, or reached at the beginning of a period.
    began_seq        bigint      NOT NULL,
    began_at         timestamptz NOT NULL,
    CONSTRAINT tier_periods_pkey PRIMARY KEY (account_id, began_seq)
);

-- A row as a batch sends it.
CREATE TYPE sent_tier_period AS (
    account_id       uuid,
    began_seq        bigint,
    began_at         timestamptz
);
