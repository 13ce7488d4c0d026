ALTER TABLE accounts VALIDATE CONSTRAINT accounts_kind_known;
