-- With records on the machines of Citus, what an import has committed can appear after its import has ended, when a machine is back that was
-- away. So its note stays until as many records were deleted as it wrote.
ALTER TABLE unpublished_import
    ADD COLUMN record_count bigint CHECK (record_count >= 0),
    ADD COLUMN discarded_at timestamptz;
COMMENT ON COLUMN unpublished_import.record_count IS
    'How many records it wrote, without those that were deleted. NULL: it was begun before this was noted.';
COMMENT ON COLUMN unpublished_import.discarded_at IS 'Since when it cannot publish any more, and its records are deleted as they appear.';

CREATE OR REPLACE FUNCTION discard_unpublished_import(import_id bigint) RETURNS bigint
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
    -- Citus finishes within a minute what was cut off. After an hour nothing is waited for: a month of it was dropped, say.
    IF deleted < import.record_count AND (deleted > 0 OR coalesce(import.discarded_at, now()) > now() - interval '1 hour') THEN
        UPDATE unpublished_import
        SET record_count = record_count - deleted, discarded_at = coalesce(discarded_at, now())
        WHERE unpublished_import_id = import_id;
    ELSE
        DELETE FROM unpublished_import WHERE unpublished_import_id = import_id;
    END IF;
    RETURN deleted;
END
$$;
COMMENT ON FUNCTION discard_unpublished_import IS
    'Deletes the records of an import that were not published, as far as they have appeared, and says how many. Nothing of a load that is published is deleted. An import that is still running cannot publish any more.';
