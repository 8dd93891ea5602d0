-- A clock that was wrong by years, once, would order publications for as long. What it published is brought back by hand
-- (docs/operations.md, "A clock that was wrong").

CREATE FUNCTION bring_back_publication_clock() RETURNS timestamptz
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    present timestamptz;
    before timestamptz[];
BEGIN
    -- A purge compares moments. Its lock, and the publish lock (src/store/locks.rs).
    PERFORM pg_advisory_xact_lock(x'0053435200000004'::bigint);
    PERFORM pg_advisory_xact_lock(x'0053435200000001'::bigint);
    present := clock_timestamp();
    -- In order, so that what superseded another thing still does.
    before := ARRAY(
        SELECT published_at FROM usage_import WHERE published_at > present
        UNION SELECT published_at FROM usage_load WHERE published_at > present
        UNION SELECT published_at FROM usage_month WHERE published_at > present
        UNION SELECT applied_at FROM price WHERE applied_at > present
        UNION SELECT superseded_at FROM price WHERE superseded_at > present
        ORDER BY 1
    );
    UPDATE usage_import SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at > present;
    UPDATE usage_load SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at > present;
    -- The totals refer to the months, so these are there twice for a moment.
    INSERT INTO usage_month (tenant_key, usage_month, published_at, revision)
    SELECT tenant_key, usage_month, present + array_position(before, published_at) * interval '1 microsecond', revision
    FROM usage_month WHERE published_at = ANY (before);
    UPDATE usage_month_total SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at = ANY (before);
    DELETE FROM usage_month WHERE published_at = ANY (before);
    UPDATE price SET applied_at = coalesce(present + array_position(before, applied_at) * interval '1 microsecond', applied_at),
                     superseded_at = coalesce(present + array_position(before, superseded_at) * interval '1 microsecond',
                                              superseded_at)
    WHERE applied_at > present OR superseded_at > present;
    UPDATE publication_clock SET last_published_at = present + cardinality(before) * interval '1 microsecond'
    WHERE last_published_at > present;
    RETURN (SELECT last_published_at FROM publication_clock);
END
$$;
-- It needs the rights of the owner, and does not lend them.
REVOKE EXECUTE ON FUNCTION bring_back_publication_clock FROM PUBLIC;
COMMENT ON FUNCTION bring_back_publication_clock IS
    'After the clock of the database was wrong: sets what was published in the future to now, in its order, and the publication clock with it; tells its time.';
