ALTER TABLE ledger_entries ADD COLUMN level text NOT NULL DEFAULT 'none';
