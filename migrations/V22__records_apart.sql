-- Records and assets may lie on another machine than the rest: no statement is about both (docs/decisions/063).
CREATE OR REPLACE FUNCTION keep_what_usage_is_of() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    key bigint := (to_jsonb(OLD) ->> TG_ARGV[0])::bigint;
    is_used boolean;
BEGIN
    -- Nothing is published meanwhile, and no import is between finding a tenant and making its assets. The locks of assets and
    -- of publishing, in the order of imports (src/store/locks.rs).
    PERFORM pg_advisory_xact_lock(x'0053435200000005'::bigint);
    PERFORM pg_advisory_xact_lock(x'0053435200000001'::bigint);
    is_used := CASE TG_TABLE_NAME
        WHEN 'tenant' THEN EXISTS (SELECT FROM usage_load WHERE tenant_key = key)
        WHEN 'meter' THEN EXISTS (SELECT FROM usage_total WHERE meter_key = key)
        ELSE EXISTS (SELECT FROM usage_load WHERE import_id = key)
    END;
    IF TG_TABLE_NAME = 'tenant' AND NOT is_used THEN
        is_used := EXISTS (SELECT FROM asset WHERE tenant_key = key);
    END IF;
    IF is_used THEN
        RAISE EXCEPTION 'there is usage of % %', TG_TABLE_NAME, key USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END
$$;
