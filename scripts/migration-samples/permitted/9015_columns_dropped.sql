-- Nothing has read them since 0.2.0.
-- squawk-ignore ban-drop-column
ALTER TABLE ledger_entries DROP COLUMN channel, DROP COLUMN level;
