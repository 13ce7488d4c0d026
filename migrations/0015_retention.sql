-- Where the search for accounts without activity has come to, program by program. Whoever takes a page of a program's
-- accounts locks its row for a moment, so several services take pages in turns, and no account twice in a round.
CREATE TABLE retention_rounds (
    program_id       text        NOT NULL,
    -- The version of the program by which the round goes. A new one begins another round.
    version          integer     NOT NULL,
    begun_at         timestamptz NOT NULL,
    -- The last account of the page that was taken last; absent where the next page is the round's first.
    after_account_id uuid,
    -- Whether there was no account behind it.
    is_over          boolean     NOT NULL,
    CONSTRAINT retention_rounds_pkey PRIMARY KEY (program_id)
);

-- Pages of a program's customers that tell nothing of who they are. Of those who were erased there is no row.
CREATE INDEX customers_of_program ON customers (program_id, account_id);

-- Where the search for principals of customers who do not exist has come to: one row, as above.
CREATE TABLE principal_rounds (
    only_row           boolean     NOT NULL DEFAULT TRUE,
    begun_at           timestamptz,
    after_principal_id uuid,
    is_over            boolean     NOT NULL DEFAULT TRUE,
    CONSTRAINT principal_rounds_pkey PRIMARY KEY (only_row),
    CONSTRAINT principal_rounds_only_row CHECK (only_row)
);
INSERT INTO principal_rounds DEFAULT VALUES;
