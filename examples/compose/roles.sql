-- What a superuser makes once: the two roles, and the database. No password here lets nobody in, since only the containers
-- of one network reach this Postgres, and it trusts them. Elsewhere give each role one.
CREATE ROLE goldbook_owner LOGIN;
CREATE ROLE goldbook_service LOGIN;
CREATE DATABASE goldbook OWNER goldbook_owner;
