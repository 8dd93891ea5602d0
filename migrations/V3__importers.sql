-- What an account does that may import, and that has no right to change or delete what is there.

CREATE FUNCTION discard_unpublished_records(of_tenant bigint, of_month date, of_load bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM usage_record
    WHERE tenant_key = of_tenant AND usage_month = of_month AND load_id = of_load
      AND NOT EXISTS (SELECT FROM usage_load WHERE tenant_key = of_tenant AND load_id = of_load)
$$;
-- Whoever may import is granted it by name.
REVOKE EXECUTE ON FUNCTION discard_unpublished_records FROM PUBLIC;
COMMENT ON FUNCTION discard_unpublished_records IS 'Deletes the records of a load that was not published.';

-- The clock only goes forward, also by the hand of an account that may import.
CREATE FUNCTION tick_publication_clock() RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE publication_clock
    SET last_published_at = greatest(clock_timestamp(), last_published_at + interval '1 microsecond')
    RETURNING last_published_at
$$;
REVOKE EXECUTE ON FUNCTION tick_publication_clock FROM PUBLIC;
COMMENT ON FUNCTION tick_publication_clock IS 'Moves the publication clock on and tells its time; the caller holds the publish lock and commits soon.';
