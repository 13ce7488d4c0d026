-- Where the search for accounts with something due has come to: one row. Whoever takes a page of them locks it for a
-- moment, so several services take pages in turns, and no account twice in a round.
CREATE TABLE due_rounds (
    only_row         boolean     NOT NULL DEFAULT TRUE,
    -- The last account of the page that was taken last; absent where the next page is a round's first.
    after_due_at     timestamptz,
    after_account_id uuid,
    CONSTRAINT due_rounds_pkey PRIMARY KEY (only_row),
    CONSTRAINT due_rounds_only_row CHECK (only_row)
);
INSERT INTO due_rounds DEFAULT VALUES;

-- Accounts of which what is due could not be written, such as a due that contradicts the rows. They are left out of the
-- search until they are tried again, ever more rarely.
CREATE TABLE stuck_dues (
    account_id uuid        NOT NULL,
    -- The due that failed, by its instant in the account's head. Once the head tells another, the row says nothing.
    due_at     timestamptz NOT NULL,
    -- Why, for whoever mends it. It names ids and no person.
    failure    text        NOT NULL,
    failures   integer     NOT NULL,
    since      timestamptz NOT NULL,
    try_at     timestamptz NOT NULL,
    CONSTRAINT stuck_dues_pkey PRIMARY KEY (account_id),
    CONSTRAINT stuck_dues_failures_positive CHECK (failures > 0)
);
