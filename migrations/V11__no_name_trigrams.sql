-- By itself, since it needs the table alone for a moment: in one transaction with the migration before, it could wait for a
-- catalog that waits for that one.

DROP INDEX tenant_search;
