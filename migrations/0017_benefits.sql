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
    -- The package that it was in, if it was in one.
    package_id        text,
    CONSTRAINT benefit_grants_pkey PRIMARY KEY (account_id, granted_seq),
    CONSTRAINT benefit_grants_limit CHECK (use_limit > 0),
    CONSTRAINT benefit_grants_ends_later CHECK (ends_at > granted_at),
    CONSTRAINT benefit_grants_revoked_later CHECK (revoked_at >= granted_at)
);

-- Finds those that are in force, or were at an instant, among however many there have been: by when each is over. What asks
-- must say it word for word.
CREATE INDEX benefit_grants_over ON benefit_grants (account_id, coalesce(least(ends_at, revoked_at), 'infinity'));

-- Finds those that were in force at an instant, among however many there have been since and before: a customer may have had
-- very many, but few at a time. What asks must say it word for word.
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE INDEX benefit_grants_in_force ON benefit_grants
    USING gist (account_id, tstzrange(granted_at, coalesce(least(ends_at, revoked_at), 'infinity')));

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
    revoked_at        timestamptz,
    package_id        text
);

-- Packages that customers are, or were, to be given for tiers that they have reached: each by the last time. Mostly all are
-- settled, since that is done right after; but not where the package was given before in the same tier period.
CREATE TABLE packages_owed (
    account_id     uuid        NOT NULL,
    -- The tier that was reached, and the package for that.
    tier_id        text        NOT NULL,
    package_id     text        NOT NULL,
    program_id     text        NOT NULL,
    -- The entry by which the tier was reached, and when that was.
    reached_seq    bigint      NOT NULL,
    owed_at        timestamptz NOT NULL,
    -- The version of the program that decided it, and has the package.
    policy_version integer     NOT NULL,
    -- The entry by which it was given, or the customer erased; it is owed, if absent.
    settled_seq    bigint,
    CONSTRAINT packages_owed_pkey PRIMARY KEY (account_id, tier_id)
);

-- A row as a batch sends it.
CREATE TYPE sent_package_owed AS (
    account_id     uuid,
    tier_id        text,
    package_id     text,
    program_id     text,
    reached_seq    bigint,
    owed_at        timestamptz,
    policy_version integer,
    settled_seq    bigint
);

CREATE TYPE sent_package_end AS (
    account_id     uuid,
    settled_seq    bigint
);

-- Packages that customers were given.
CREATE TABLE packages_given (
    account_id  uuid     NOT NULL,
    given_seq   bigint   NOT NULL,
    package_id  text     NOT NULL,
    occasion    text     NOT NULL,
    -- For a tier that was reached: which one, and the tier period, by the entry that began it; 0 for the one that began with the customer.
    tier_id     text,
    tier_period bigint,
    -- For a day: the year that it was of.
    year        bigint,
    CONSTRAINT packages_given_pkey PRIMARY KEY (account_id, given_seq),
    CONSTRAINT packages_given_occasion_known CHECK (occasion IN ('tier_reached', 'birthday', 'enrolment_anniversary')),
    CONSTRAINT packages_given_for_a_tier CHECK ((tier_id IS NOT NULL) = (occasion = 'tier_reached')),
    CONSTRAINT packages_given_in_a_period CHECK ((tier_period IS NOT NULL) = (occasion = 'tier_reached')),
    CONSTRAINT packages_given_of_a_year CHECK ((year IS NULL) = (occasion = 'tier_reached'))
);

-- One package is given for a tier in a tier period, and one for each day of a year.
CREATE UNIQUE INDEX packages_given_once_in_a_period ON packages_given (account_id, tier_period, tier_id)
    WHERE tier_period IS NOT NULL;
CREATE UNIQUE INDEX packages_given_once_a_year ON packages_given (account_id, year, occasion) WHERE year IS NOT NULL;

-- A row as a batch sends it.
CREATE TYPE sent_package_given AS (
    account_id  uuid,
    given_seq   bigint,
    package_id  text,
    occasion    text,
    tier_id     text,
    tier_period bigint,
    year        bigint
);

-- Where the giving of packages for birthdays and anniversaries has come to, by program. Whoever gives them to a page of
-- customers holds the lock on the row: so of several services one is at it. There is a row while a program has such packages.
CREATE TABLE package_rounds (
    program_id       text NOT NULL,
    -- The local day that it is at.
    day              date NOT NULL,
    -- The first day that has to be gone through again: since it was not over yet, or somebody could not be given anything.
    -- Absent, if there is none; all days before are over.
    again_from       date,
    -- What it gives packages for on that day: birthdays first.
    occasion         text NOT NULL,
    -- The last customer who was gone through for that, and when they joined; absent before the first.
    after_joined_at  timestamptz,
    after_account_id uuid,
    CONSTRAINT package_rounds_pkey PRIMARY KEY (program_id),
    CONSTRAINT package_rounds_occasion_known CHECK (occasion IN ('birthday', 'enrolment_anniversary')),
    CONSTRAINT package_rounds_after_whole CHECK (num_nulls(after_joined_at, after_account_id) IN (0, 2)),
    CONSTRAINT package_rounds_again_later CHECK (again_from <= day)
);

-- Finds the programs that give packages on days of customers. What asks must say it word for word.
CREATE INDEX program_versions_celebrating ON program_versions (program_id)
    WHERE document @? '$.packages[*].occasion ? (@ == "birthday" || @ == "enrolment_anniversary")';

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
