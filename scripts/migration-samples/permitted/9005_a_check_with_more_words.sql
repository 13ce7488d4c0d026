-- The next statement has it with one word more.
-- squawk-ignore ban-drop-constraint
ALTER TABLE accounts DROP CONSTRAINT accounts_kind_known;
ALTER TABLE accounts ADD CONSTRAINT accounts_kind_known CHECK (kind IN ('customer', 'program', 'household')) NOT VALID;
