-- What an import takes back before it commits, without the right to delete anything that was published.

CREATE FUNCTION discard_unpublished_records(of_tenant bigint, of_month date, of_load bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM usage_record
    WHERE tenant_key = of_tenant AND usage_month = of_month AND load_id = of_load
      AND NOT EXISTS (SELECT FROM usage_load WHERE tenant_key = of_tenant AND load_id = of_load)
$$;
-- Whoever may import is granted it by name.
REVOKE EXECUTE ON FUNCTION discard_unpublished_records FROM PUBLIC;
COMMENT ON FUNCTION discard_unpublished_records IS 'Deletes the records of a load that was not published.';
