-- Records by blocks of 1024, a column an array: a month of millions of records is handed over, written and searched in a
-- fraction of the time that rows took, on a tenth of the disk (docs/decisions/022). The view usage_record has them as rows.

-- An import that is running ends first, and one that begins finds the view: what it committed later would be lost.
LOCK TABLE usage_record IN SHARE MODE;

CREATE TABLE usage_block (
    tenant_key bigint NOT NULL,
    load_id bigint NOT NULL,
    usage_month date NOT NULL,
    block_number integer NOT NULL CHECK (block_number >= 1),
    asset_keys bigint[] NOT NULL CHECK (cardinality(asset_keys) BETWEEN 1 AND 1024),
    kinds bigint[] NOT NULL CHECK (cardinality(kinds) = cardinality(asset_keys)),
    period_starts timestamptz[] NOT NULL CHECK (cardinality(period_starts) = cardinality(asset_keys)),
    period_ends timestamptz[] NOT NULL CHECK (cardinality(period_ends) = cardinality(asset_keys)),
    quantities numeric[] NOT NULL CHECK (cardinality(quantities) = cardinality(asset_keys)),
    trial_expiries timestamptz[] CHECK (cardinality(trial_expiries) = cardinality(asset_keys)),
    PRIMARY KEY (tenant_key, usage_month, load_id, block_number)
) PARTITION BY RANGE (usage_month);
COMMENT ON TABLE usage_block IS 'The records of loads in report order, 1024 to a block but for the last of a load; one partition a month.';
COMMENT ON COLUMN usage_block.tenant_key IS 'Whose usage.';
COMMENT ON COLUMN usage_block.load_id IS 'Of which load.';
COMMENT ON COLUMN usage_block.usage_month IS 'First day of the month; the partition key.';
COMMENT ON COLUMN usage_block.block_number IS 'Position in the load: 1, 2, 3, ... without gaps.';
COMMENT ON COLUMN usage_block.asset_keys IS 'What generated each record.';
COMMENT ON COLUMN usage_block.kinds IS
    'The small columns of each record in one number: meter_key * 512 + asset_type * 64 + billing_region * 8 + platform * 2 + trial, with 0 for no platform.';
COMMENT ON COLUMN usage_block.period_starts IS 'The first moment of each period.';
COMMENT ON COLUMN usage_block.period_ends IS 'The first moment after it; at most 24 h later and not past the month.';
COMMENT ON COLUMN usage_block.quantities IS 'The amounts measured, with their digits as delivered.';
COMMENT ON COLUMN usage_block.trial_expiries IS 'When the trial of each asset expires or expired; null: that of none does.';

CREATE OR REPLACE FUNCTION ensure_usage_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    partition_name text := format('usage_block_%s', to_char(month, 'YYYY_MM'));
BEGIN
    IF extract(day FROM month) <> 1 OR month NOT BETWEEN '0001-01-01' AND '9999-12-01' THEN
        RAISE EXCEPTION '% is not the first day of a month of the years 1 to 9999', month;
    END IF;
    IF to_regclass(quote_ident(partition_name)) IS NOT NULL THEN
        RETURN;
    END IF;
    -- What attaching takes too: importers take turns, and reports go on. After a lock on a table, unlike an advisory one,
    -- the catalog is looked at anew.
    LOCK TABLE usage_block IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(quote_ident(partition_name)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE usage_block INCLUDING ALL)', partition_name);
    EXECUTE format('ALTER TABLE usage_block ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition_name, month, (month + interval '1 month')::date);
END
$$;
COMMENT ON FUNCTION ensure_usage_month IS 'Makes sure that usage_block has a partition for the month.';

CREATE OR REPLACE FUNCTION discard_unpublished_records(of_tenant bigint, of_month date, of_load bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM usage_block
    WHERE tenant_key = of_tenant AND usage_month = of_month AND load_id = of_load
      AND NOT EXISTS (SELECT FROM usage_load WHERE tenant_key = of_tenant AND load_id = of_load)
$$;

-- What was imported before.
SELECT ensure_usage_month(usage_month) FROM (SELECT DISTINCT usage_month FROM usage_load) AS months;
INSERT INTO usage_block (tenant_key, usage_month, load_id, block_number, asset_keys, kinds, period_starts, period_ends,
                         quantities, trial_expiries)
SELECT tenant_key, usage_month, load_id, (row_number - 1) / 1024 + 1,
       array_agg(asset_key ORDER BY row_number),
       array_agg(meter_key * 512 + asset_type * 64 + billing_region * 8 + coalesce(platform, 0) * 2 + trial::integer
                 ORDER BY row_number),
       array_agg(period_start ORDER BY row_number),
       array_agg(period_end ORDER BY row_number),
       array_agg(quantity ORDER BY row_number),
       CASE WHEN bool_or(trial_expiry IS NOT NULL) THEN array_agg(trial_expiry ORDER BY row_number) END
FROM usage_record
GROUP BY tenant_key, usage_month, load_id, (row_number - 1) / 1024;
DROP VIEW detailed_usage_report;
DROP TABLE usage_record;

CREATE VIEW usage_record AS
SELECT b.tenant_key,
       b.usage_month,
       b.load_id,
       (b.block_number - 1) * 1024 + r.place::integer AS row_number,
       r.asset_key,
       r.kind >> 9 AS meter_key,
       (r.kind >> 6 & 7)::smallint AS asset_type,
       r.period_start,
       r.period_end,
       r.quantity,
       (r.kind >> 3 & 7)::smallint AS billing_region,
       nullif(r.kind >> 1 & 3, 0)::smallint AS platform,
       r.kind & 1 = 1 AS trial,
       r.trial_expiry
FROM usage_block b
CROSS JOIN LATERAL unnest(b.asset_keys, b.kinds, b.period_starts, b.period_ends, b.quantities, b.trial_expiries)
    WITH ORDINALITY AS r (asset_key, kind, period_start, period_end, quantity, trial_expiry, place);
COMMENT ON VIEW usage_record IS
    'The records of all loads as rows: keys, period, quantity, flags; row_number is the position in the load, 1, 2, 3, ...';

CREATE VIEW detailed_usage_report AS
SELECT t.organization_id AS "organizationId",
       t.tenant_id AS "tenantId",
       a.asset_name AS "assetName",
       a.asset_id AS "assetId",
       (ARRAY['USER', 'TRANSPORT', 'TENANT', 'GATEWAY', 'ENDPOINT'])[a.asset_type] AS "assetType",
       m.name AS "meterName",
       m.meter_id AS "meterId",
       r.period_start AS "start",
       r.period_end AS "end",
       r.quantity AS "quantity",
       (ARRAY['AF', 'AP', 'EU', 'NA'])[r.billing_region] AS "billingRegion",
       (ARRAY['mcp', 'azure'])[r.platform] AS "platform",
       r.trial AS "trial",
       r.trial_expiry AS "trialExpiry"
FROM usage_load l
JOIN tenant t ON t.tenant_key = l.tenant_key
JOIN usage_record r ON r.tenant_key = l.tenant_key AND r.usage_month = l.usage_month AND r.load_id = l.load_id
JOIN asset a ON a.tenant_key = r.tenant_key AND a.asset_key = r.asset_key
JOIN meter m ON m.meter_key = r.meter_key
WHERE NOT EXISTS (
    SELECT FROM usage_load newer
    WHERE newer.tenant_key = l.tenant_key AND newer.usage_month = l.usage_month AND newer.usage_day = l.usage_day
      AND newer.source = l.source AND newer.published_at > l.published_at);
COMMENT ON VIEW detailed_usage_report IS 'The detailed usage report for people with SQL: the loads in force, under the report''s column names.';
