-- The tier that each customer holds now, and the progress that decides the next: a projection of entries.
CREATE TABLE standings (
    account_id       uuid        NOT NULL,
    tier_id          text        NOT NULL,
    since            timestamptz NOT NULL,
    policy_version   integer     NOT NULL,
    -- The entry that changed the tier, and the entry that caused the change.
    changed_seq      bigint      NOT NULL,
    cause_seq        bigint      NOT NULL,
    -- Counted in the customer's whole life, in minor units of the program's currency where it is money.
    qualifying_spend bigint      NOT NULL,
    margin           bigint      NOT NULL,
    points           bigint      NOT NULL,
    -- Purchases above zero that were not refunded as a whole, and the days with such.
    purchases        bigint      NOT NULL,
    active_days      bigint      NOT NULL,
    -- Referrals that converted.
    referrals        bigint      NOT NULL,
    -- Purchases above zero that were ever accepted, those that were refunded, too.
    accepted         bigint      NOT NULL,
    -- The local day on which the customer joined: where their years begin.
    enrolled_on      date,
    -- When the tier ends unless it is earned again, and when time decides the standing next.
    ends_at          timestamptz,
    decides_at       timestamptz,
    -- The window that earned the tier, if one did: from a day, before another, and open where there is none.
    is_earned        boolean     NOT NULL,
    earned_from      date,
    earned_until     date,
    -- The tier before the one that was earned, when it would have ended, and the window that had earned that one.
    former_tier_id   text,
    former_ends_at   timestamptz,
    former_is_earned boolean     NOT NULL,
    former_earned_from  date,
    former_earned_until date,
    -- The override that is in force: what it does, to which tier, until when, the entry that set it, and the tier that the
    -- customer would hold without it.
    forced           text,
    forced_tier_id   text,
    forced_until     timestamptz,
    forced_seq       bigint,
    hidden_tier_id   text,
    -- The last entry that changed this row.
    last_seq         bigint      NOT NULL,
    CONSTRAINT standings_pkey PRIMARY KEY (account_id),
    CONSTRAINT standings_forced_known CHECK (forced IN ('floor', 'lock')),
    CONSTRAINT standings_forced_whole CHECK (
        num_nonnulls(forced, forced_tier_id, forced_seq, hidden_tier_id) IN (0, 4)
        AND (forced IS NOT NULL OR forced_until IS NULL)
    ),
    CONSTRAINT standings_progress_not_negative CHECK (qualifying_spend >= 0 AND purchases >= 0)
-- Room for the next versions, and vacuum, as in accounts.
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_standing AS (
    account_id       uuid,
    tier_id          text,
    since            timestamptz,
    policy_version   integer,
    changed_seq      bigint,
    cause_seq        bigint,
    qualifying_spend bigint,
    margin           bigint,
    points           bigint,
    purchases        bigint,
    active_days      bigint,
    referrals        bigint,
    accepted         bigint,
    enrolled_on      date,
    ends_at          timestamptz,
    decides_at       timestamptz,
    is_earned        boolean,
    earned_from      date,
    earned_until     date,
    former_tier_id   text,
    former_ends_at   timestamptz,
    former_is_earned boolean,
    former_earned_from  date,
    former_earned_until date,
    forced           text,
    forced_tier_id   text,
    forced_until     timestamptz,
    forced_seq       bigint,
    hidden_tier_id   text,
    last_seq         bigint
);

-- What a customer's standing was after the first entry that changed it among each 64 of the account: so the standing at
-- any instant is one row and at most 63 entries. A projection of entries.
CREATE TABLE standing_marks (
    account_id       uuid        NOT NULL,
    tier_id          text        NOT NULL,
    since            timestamptz NOT NULL,
    policy_version   integer     NOT NULL,
    changed_seq      bigint      NOT NULL,
    cause_seq        bigint      NOT NULL,
    qualifying_spend bigint      NOT NULL,
    margin           bigint      NOT NULL,
    points           bigint      NOT NULL,
    purchases        bigint      NOT NULL,
    active_days      bigint      NOT NULL,
    referrals        bigint      NOT NULL,
    accepted         bigint      NOT NULL,
    enrolled_on      date,
    ends_at          timestamptz,
    decides_at       timestamptz,
    is_earned        boolean     NOT NULL,
    earned_from      date,
    earned_until     date,
    former_tier_id   text,
    former_ends_at   timestamptz,
    former_is_earned boolean     NOT NULL,
    former_earned_from  date,
    former_earned_until date,
    forced           text,
    forced_tier_id   text,
    forced_until     timestamptz,
    forced_seq       bigint,
    hidden_tier_id   text,
    -- The entry after which it was so.
    account_seq      bigint      NOT NULL,
    CONSTRAINT standing_marks_pkey PRIMARY KEY (account_id, account_seq)
);

-- What was counted for a customer's tier on each local day of the program: windows are sums of these. A projection of
-- entries.
CREATE TABLE standing_days (
    account_id uuid   NOT NULL,
    day        date   NOT NULL,
    spend      bigint NOT NULL,
    margin     bigint NOT NULL,
    points     bigint NOT NULL,
    purchases  bigint NOT NULL,
    -- Purchases of any amount that were not refunded as a whole.
    visits     bigint NOT NULL,
    referrals  bigint NOT NULL,
    -- The last entry that counted on the day, however late.
    last_seq   bigint NOT NULL,
    CONSTRAINT standing_days_pkey PRIMARY KEY (account_id, day)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_standing_day AS (
    account_id uuid,
    day        date,
    spend      bigint,
    margin     bigint,
    points     bigint,
    purchases  bigint,
    visits     bigint,
    referrals  bigint,
    last_seq   bigint
);

-- What a day was after the last entry that counted on it among each 64 of the account, but for the last of these: so a
-- window at any instant is one row for each day and at most 63 entries. A projection of entries.
CREATE TABLE standing_day_marks (
    account_id uuid   NOT NULL,
    day        date   NOT NULL,
    last_seq   bigint NOT NULL,
    spend      bigint NOT NULL,
    margin     bigint NOT NULL,
    points     bigint NOT NULL,
    purchases  bigint NOT NULL,
    visits     bigint NOT NULL,
    referrals  bigint NOT NULL,
    CONSTRAINT standing_day_marks_pkey PRIMARY KEY (account_id, day, last_seq)
);
