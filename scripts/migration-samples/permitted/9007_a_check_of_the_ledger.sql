ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_level_named CHECK (level <> '') NOT VALID;
