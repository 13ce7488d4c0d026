-- What a customer shares to bring others: one code for each campaign. A projection of entries.
CREATE TABLE referral_codes (
    account_id  uuid        NOT NULL,
    campaign_id text        NOT NULL,
    code        text        NOT NULL,
    account_seq bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT referral_codes_pkey PRIMARY KEY (account_id, campaign_id)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_code AS (
    account_id  uuid,
    campaign_id text,
    code        text,
    account_seq bigint,
    created_at  timestamptz
);

-- The one attempt to bring each new customer, by the account of who was brought. A projection of entries.
CREATE TABLE referrals (
    account_id           uuid        NOT NULL,
    referrer_account_id  uuid        NOT NULL,
    campaign_id          text        NOT NULL,
    policy_version       integer     NOT NULL,
    state                text        NOT NULL,
    created_seq          bigint      NOT NULL,
    created_at           timestamptz NOT NULL,
    expires_at           timestamptz,
    -- When and by which entry the referral came to its end.
    ended_seq            bigint,
    ended_at             timestamptz,
    -- The activity that qualified, where one did, and the two grants, where they gave points.
    qualifying_seq       bigint,
    referrer_reward_seq  bigint,
    referee_reward_seq   bigint,
    CONSTRAINT referrals_pkey PRIMARY KEY (account_id),
    CONSTRAINT referrals_state_known CHECK (state IN ('pending', 'converted', 'expired')),
    CONSTRAINT referrals_end_whole CHECK (
        (state = 'pending') = (ended_seq IS NULL) AND (state = 'pending') = (ended_at IS NULL)
    ),
    CONSTRAINT referrals_not_oneself CHECK (account_id <> referrer_account_id)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_referral AS (
    account_id           uuid,
    referrer_account_id  uuid,
    campaign_id          text,
    policy_version       integer,
    state                text,
    created_seq          bigint,
    created_at           timestamptz,
    expires_at           timestamptz,
    ended_seq            bigint,
    ended_at             timestamptz,
    qualifying_seq       bigint,
    referrer_reward_seq  bigint,
    referee_reward_seq   bigint
);

CREATE INDEX referrals_by_referrer ON referrals (referrer_account_id, created_at DESC, account_id DESC);

-- Which accounts a command on one may touch beyond it: the conversion of a pending referral pays the referrer.
CREATE VIEW related_accounts AS
    SELECT account_id, referrer_account_id AS related_account_id FROM referrals WHERE state = 'pending';
