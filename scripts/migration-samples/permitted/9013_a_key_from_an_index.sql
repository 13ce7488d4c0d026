ALTER TABLE ledger_entries
    ADD CONSTRAINT ledger_entries_command_once UNIQUE USING INDEX ledger_entries_command_once;
