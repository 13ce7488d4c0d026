-- What customers used of their benefits: projections of entries.

-- A row for each use and each reversal of one, with how often the benefit has been used from then on, by the tiers or by
-- one grant. The last row of a benefit and grant tells the present; the last by an instant tells that instant. So nothing
-- that is read grows with a history.
CREATE TABLE benefit_uses (
    account_id       uuid        NOT NULL,
    -- The entry of the use, or of its reversal.
    account_seq      bigint      NOT NULL,
    benefit_id       text        NOT NULL,
    used_at          timestamptz NOT NULL,
    -- The entry of the grant that gave it; 0 where a tier did.
    granted_seq      bigint      NOT NULL,
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

CREATE INDEX benefit_uses_by_benefit ON benefit_uses (account_id, benefit_id, granted_seq, used_at, account_seq);

-- A use is reversed once.
CREATE UNIQUE INDEX benefit_uses_reversed_once ON benefit_uses (account_id, reverses_seq) WHERE reverses_seq IS NOT NULL;

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_benefit_use AS (
    account_id       uuid,
    account_seq      bigint,
    benefit_id       text,
    used_at          timestamptz,
    granted_seq      bigint,
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

-- Benefits that somebody granted beyond those of a tier. An end is a comparison of time, and changes no row.
CREATE TABLE benefit_grants (
    account_id        uuid        NOT NULL,
    -- The entry that granted it.
    granted_seq       bigint      NOT NULL,
    benefit_id        text        NOT NULL,
    -- The tier whose benefit it is, as this version of the program describes it; one of the extras, if absent.
    tier_id           text,
    policy_version    integer     NOT NULL,
    granted_at        timestamptz NOT NULL,
    -- How often it may be used until it ends; as often as the customer likes, if absent.
    use_limit         bigint,
    counts_companions boolean     NOT NULL,
    -- When it ends; never by itself, if absent.
    ends_at           timestamptz,
    -- When it was ended by hand.
    revoked_at        timestamptz,
    CONSTRAINT benefit_grants_pkey PRIMARY KEY (account_id, granted_seq),
    CONSTRAINT benefit_grants_limit CHECK (use_limit > 0),
    CONSTRAINT benefit_grants_ends_later CHECK (ends_at > granted_at),
    CONSTRAINT benefit_grants_revoked_later CHECK (revoked_at >= granted_at)
);

-- Finds those that are in force, or were at an instant, among however many there have been: by when each is over. What asks
-- must say it word for word.
CREATE INDEX benefit_grants_over ON benefit_grants (account_id, coalesce(least(ends_at, revoked_at), 'infinity'));

-- A row as a batch sends it.
CREATE TYPE sent_benefit_grant AS (
    account_id        uuid,
    granted_seq       bigint,
    benefit_id        text,
    tier_id           text,
    policy_version    integer,
    granted_at        timestamptz,
    use_limit         bigint,
    counts_companions boolean,
    ends_at           timestamptz,
    revoked_at        timestamptz
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
