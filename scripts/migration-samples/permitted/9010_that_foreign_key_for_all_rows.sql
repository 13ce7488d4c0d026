ALTER TABLE accounts VALIDATE CONSTRAINT accounts_household_known;
