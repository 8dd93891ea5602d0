-- Records are committed before the loads that they are of are published, in a transaction of their own (docs/decisions/061). What an
-- import left that did not come to its end is known by this table, and deleted.

-- A purge that is running knows nothing of it. Its lock (src/store/locks.rs).
SELECT pg_advisory_xact_lock(x'0053435200000004'::bigint);

CREATE SEQUENCE unpublished_import_id_seq;
CREATE TABLE unpublished_import (
    unpublished_import_id bigint PRIMARY KEY,
    began_at timestamptz NOT NULL DEFAULT now(),
    tenant_keys bigint[] NOT NULL,
    usage_months date[] NOT NULL CHECK (cardinality(usage_months) = cardinality(tenant_keys)),
    load_ids bigint[] NOT NULL CHECK (cardinality(load_ids) = cardinality(tenant_keys))
);
-- They are read once, if at all.
ALTER TABLE unpublished_import
    ALTER COLUMN tenant_keys SET STORAGE EXTERNAL,
    ALTER COLUMN usage_months SET STORAGE EXTERNAL,
    ALTER COLUMN load_ids SET STORAGE EXTERNAL;
COMMENT ON TABLE unpublished_import IS
    'Imports that have committed records and not published them. Each holds an advisory lock while it runs; the records of the others are deleted, by the next import of one of their tenants or by a purge.';
COMMENT ON COLUMN unpublished_import.unpublished_import_id IS 'Identifies it, and its lock.';
COMMENT ON COLUMN unpublished_import.began_at IS 'When it began to write records.';
COMMENT ON COLUMN unpublished_import.tenant_keys IS 'Of each load, whose usage it has.';
COMMENT ON COLUMN unpublished_import.usage_months IS 'Of each load, the first day of its month.';
COMMENT ON COLUMN unpublished_import.load_ids IS 'Of each load, the id that its records have.';

DROP FUNCTION discard_unpublished_records;
CREATE FUNCTION discard_unpublished_import(import_id bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    import unpublished_import;
    tenant bigint;
    months date[];
    loads bigint[];
    deleted bigint := 0;
BEGIN
    SELECT * INTO import FROM unpublished_import WHERE unpublished_import_id = import_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    FOR tenant, months, loads IN
        SELECT written.tenant_key, array_agg(DISTINCT usage_month), array_agg(load_id)
        FROM unnest(import.tenant_keys, import.usage_months, import.load_ids)
             AS written (tenant_key, usage_month, load_id)
        WHERE NOT EXISTS (
            SELECT FROM usage_load l WHERE l.tenant_key = written.tenant_key AND l.load_id = written.load_id
            -- One by one: there may be a million others.
            OFFSET 0
        )
        GROUP BY written.tenant_key
    LOOP
        deleted := deleted + (
            SELECT coalesce(sum(record_count), 0) FROM usage_block
            WHERE tenant_key = tenant AND usage_month = ANY (months) AND load_id = ANY (loads)
        );
        DELETE FROM usage_block WHERE tenant_key = tenant AND usage_month = ANY (months) AND load_id = ANY (loads);
    END LOOP;
    DELETE FROM unpublished_import WHERE unpublished_import_id = import_id;
    RETURN deleted;
END
$$;
REVOKE EXECUTE ON FUNCTION discard_unpublished_import FROM PUBLIC;
COMMENT ON FUNCTION discard_unpublished_import IS
    'Deletes the records of an import that were not published, and says how many. Nothing of a load that is published is deleted. An import that is still running cannot publish any more.';
