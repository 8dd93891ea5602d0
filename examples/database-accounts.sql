-- The database and its three accounts, for an administrator to run once:
--
--   psql -h HOST -U postgres -f examples/database-accounts.sql
--
-- Then give each of them a password (\password reports_owner, ...) or a certificate, and run, as the owner,
--
--   secure-connect-reports migrate --grant-to reader=reports_reader --grant-to writer=reports_writer

-- Owns the tables. For `migrate` only.
CREATE ROLE reports_owner LOGIN;
-- Serves reports; changes nothing. For DATABASE_URL of `serve`.
CREATE ROLE reports_reader LOGIN;
-- Imports usage and applies catalogs. For SCR_IMPORT_DATABASE_URL of `serve`, and for `import` and `catalog apply`.
CREATE ROLE reports_writer LOGIN;

CREATE DATABASE reports OWNER reports_owner;
\connect reports
-- PostgreSQL 14 lets everyone create tables and functions there; from 15 on it is the owner of the database who may.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
-- Everyone may create large objects and temporary tables, readers too, and so fill a disk.
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
REVOKE TEMPORARY ON DATABASE reports FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO reports_owner;
