-- What a load adds up to stands in its row, and what a month adds up to in the row of the month: a row of their own for each
-- of a few numbers took longer to write than the records of a small tenant, and most of its disk (docs/decisions/058).

-- Imports that are running end first, and reports go on meanwhile.
LOCK TABLE usage_block IN SHARE MODE;
-- From here on everyone waits. In the order of those who read: dropping a foreign key locks both of its tables.
LOCK TABLE tenant, meter, usage_import, asset, usage_load, usage_total, usage_month, usage_month_total
    IN ACCESS EXCLUSIVE MODE;

CREATE TYPE usage_sum_parts AS (
    meter_key bigint,
    billing_region smallint,
    trial boolean,
    record_count bigint,
    quantity numeric
);
CREATE DOMAIN usage_sum AS usage_sum_parts CHECK (
    (VALUE).meter_key IS NOT NULL AND (VALUE).trial IS NOT NULL
    -- What is unknown would pass.
    AND coalesce((VALUE).billing_region BETWEEN 1 AND 4 AND (VALUE).record_count > 0 AND (VALUE).quantity >= 0, false)
);
COMMENT ON DOMAIN usage_sum IS
    'How many records of a meter, a billing region and of trial or not there are, and the exact sum of their quantities, in the meter''s unit.';

ALTER TABLE usage_load ADD COLUMN totals usage_sum[] NOT NULL DEFAULT '{}';
ALTER TABLE usage_month ADD COLUMN totals usage_sum[] NOT NULL DEFAULT '{}';
UPDATE usage_load l SET totals = sums.totals
FROM (
    SELECT tenant_key, load_id,
           array_agg(ROW(meter_key, billing_region, trial, record_count, quantity)::usage_sum
                     ORDER BY meter_key, billing_region, trial) AS totals
    FROM usage_total
    GROUP BY tenant_key, load_id
) AS sums
WHERE sums.tenant_key = l.tenant_key AND sums.load_id = l.load_id;
UPDATE usage_month m SET totals = sums.totals
FROM (
    SELECT tenant_key, usage_month, published_at,
           array_agg(ROW(meter_key, billing_region, trial, record_count, trim_scale(quantity))::usage_sum
                     ORDER BY meter_key, billing_region, trial) AS totals
    FROM usage_month_total
    GROUP BY tenant_key, usage_month, published_at
) AS sums
WHERE sums.tenant_key = m.tenant_key AND sums.usage_month = m.usage_month AND sums.published_at = m.published_at;
DROP FUNCTION add_usage_months;
DROP TABLE usage_total, usage_month_total;
ALTER TABLE usage_load ALTER COLUMN totals DROP DEFAULT;
ALTER TABLE usage_month ALTER COLUMN totals DROP DEFAULT;
COMMENT ON COLUMN usage_load.totals IS
    'What it adds up to, by meter, billing region and trial, in this order. The view usage_total has a row for each.';
COMMENT ON COLUMN usage_month.totals IS
    'The totals of its loads in force, added up; empty: all of it was withdrawn. The view usage_month_total has a row for each.';

CREATE VIEW usage_total AS
SELECT l.tenant_key, l.load_id, sum.meter_key, sum.billing_region, sum.trial, sum.record_count, sum.quantity
FROM usage_load l CROSS JOIN LATERAL unnest(l.totals) AS sum;
COMMENT ON VIEW usage_total IS
    'What each load adds up to: records and quantity by meter, billing region and trial. Costs come from here, never from the records.';
CREATE VIEW usage_month_total AS
SELECT m.tenant_key, m.usage_month, m.published_at, sum.meter_key, sum.billing_region, sum.trial, sum.record_count,
       sum.quantity
FROM usage_month m CROSS JOIN LATERAL unnest(m.totals) AS sum;
COMMENT ON VIEW usage_month_total IS
    'What a tenant''s month adds up to from a publication on: the totals of its loads in force, added up.';

-- Foreign keys are looked up row by row. Publications look theirs up at once, under the publish lock, and nothing deletes
-- what they find: that is what is left of these keys.
ALTER TABLE asset DROP CONSTRAINT asset_tenant_key_fkey;
ALTER TABLE usage_load DROP CONSTRAINT usage_load_tenant_key_fkey, DROP CONSTRAINT usage_load_import_id_fkey;
ALTER TABLE usage_month DROP CONSTRAINT usage_month_tenant_key_fkey;
CREATE FUNCTION keep_what_usage_is_of() RETURNS trigger
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
                        OR EXISTS (SELECT FROM asset WHERE tenant_key = key)
        WHEN 'meter' THEN EXISTS (SELECT FROM usage_total WHERE meter_key = key)
        ELSE EXISTS (SELECT FROM usage_load WHERE import_id = key)
    END;
    IF is_used THEN
        RAISE EXCEPTION 'there is usage of % %', TG_TABLE_NAME, key USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END
$$;
COMMENT ON FUNCTION keep_what_usage_is_of IS 'Refuses to delete a tenant, a meter or an import that usage refers to.';
CREATE TRIGGER keep_what_usage_is_of BEFORE DELETE ON tenant
    FOR EACH ROW EXECUTE FUNCTION keep_what_usage_is_of('tenant_key');
CREATE TRIGGER keep_what_usage_is_of BEFORE DELETE ON meter
    FOR EACH ROW EXECUTE FUNCTION keep_what_usage_is_of('meter_key');
CREATE TRIGGER keep_what_usage_is_of BEFORE DELETE ON usage_import
    FOR EACH ROW EXECUTE FUNCTION keep_what_usage_is_of('import_id');

CREATE OR REPLACE FUNCTION bring_back_publication_clock() RETURNS timestamptz
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
        UNION SELECT applied_at FROM uncharged_meter WHERE applied_at > present
        UNION SELECT superseded_at FROM uncharged_meter WHERE superseded_at > present
        UNION SELECT horizon FROM statement WHERE horizon > present
        UNION SELECT closed_at FROM statement WHERE closed_at > present
        ORDER BY 1
    );
    UPDATE usage_import SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at > present;
    UPDATE usage_load SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at > present;
    UPDATE usage_month SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at > present;
    UPDATE price SET applied_at = coalesce(present + array_position(before, applied_at) * interval '1 microsecond', applied_at),
                     superseded_at = coalesce(present + array_position(before, superseded_at) * interval '1 microsecond',
                                              superseded_at)
    WHERE applied_at > present OR superseded_at > present;
    UPDATE uncharged_meter
    SET applied_at = coalesce(present + array_position(before, applied_at) * interval '1 microsecond', applied_at),
        superseded_at = coalesce(present + array_position(before, superseded_at) * interval '1 microsecond', superseded_at)
    WHERE applied_at > present OR superseded_at > present;
    -- What a statement says of itself is signed, and stays. These say what it has, and from when on.
    UPDATE statement
    SET horizon = coalesce(present + array_position(before, horizon) * interval '1 microsecond', horizon),
        closed_at = coalesce(present + array_position(before, closed_at) * interval '1 microsecond', closed_at)
    WHERE horizon > present OR closed_at > present;
    UPDATE statement_key SET first_used_at = present + array_position(before, first_used_at) * interval '1 microsecond'
    WHERE first_used_at > present;
    UPDATE publication_clock SET last_published_at = present + cardinality(before) * interval '1 microsecond'
    WHERE last_published_at > present;
    RETURN (SELECT last_published_at FROM publication_clock);
END
$$;
