-- Usage: immutable loads, their totals and their records. Per-tenant tables carry the tenant key in every key.

CREATE SEQUENCE usage_import_id_seq;
CREATE TABLE usage_import (
    import_id bigint PRIMARY KEY DEFAULT nextval('usage_import_id_seq'),
    source text COLLATE "C" NOT NULL CHECK (source <> ''),
    file_name text NOT NULL,
    imported_by text NOT NULL,
    published_at timestamptz NOT NULL
);
COMMENT ON TABLE usage_import IS 'A delivery of usage that changed something: one file, or one call of ImportUsage.';
COMMENT ON COLUMN usage_import.import_id IS 'Key.';
COMMENT ON COLUMN usage_import.source IS 'Who delivered.';
COMMENT ON COLUMN usage_import.file_name IS 'What was delivered; "-" for standard input.';
COMMENT ON COLUMN usage_import.imported_by IS 'The account that ran the import.';
COMMENT ON COLUMN usage_import.published_at IS 'When its loads were published, by the publication clock.';

CREATE SEQUENCE asset_key_seq;
CREATE TABLE asset (
    tenant_key bigint NOT NULL REFERENCES tenant,
    asset_key bigint NOT NULL DEFAULT nextval('asset_key_seq'),
    asset_type smallint NOT NULL CHECK (asset_type BETWEEN 1 AND 5),
    asset_id text COLLATE "C" NOT NULL CHECK (asset_id <> '' AND octet_length(asset_id) <= 512),
    asset_name text COLLATE "C" NOT NULL CHECK (octet_length(asset_name) <= 1024),
    PRIMARY KEY (tenant_key, asset_key),
    UNIQUE (tenant_key, asset_type, asset_id, asset_name)
);
COMMENT ON TABLE asset IS 'What generates usage: one row for each name that it was delivered under, so that a report shows the name that was delivered.';
COMMENT ON COLUMN asset.tenant_key IS 'Whose asset.';
COMMENT ON COLUMN asset.asset_key IS 'Stands for type, id and name in usage records.';
COMMENT ON COLUMN asset.asset_type IS '1 USER, 2 TRANSPORT, 3 TENANT, 4 GATEWAY, 5 ENDPOINT.';
COMMENT ON COLUMN asset.asset_id IS 'Identifies the asset within its type and tenant.';
COMMENT ON COLUMN asset.asset_name IS 'Free text.';

CREATE SEQUENCE load_id_seq;
CREATE TABLE usage_load (
    tenant_key bigint NOT NULL REFERENCES tenant,
    load_id bigint NOT NULL DEFAULT nextval('load_id_seq'),
    usage_month date NOT NULL CHECK (extract(day FROM usage_month) = 1),
    usage_day date NOT NULL CHECK (usage_day >= usage_month AND usage_day < usage_month + interval '1 month'),
    source text COLLATE "C" NOT NULL CHECK (source <> ''),
    import_id bigint NOT NULL REFERENCES usage_import,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    record_count integer NOT NULL CHECK (record_count >= 0),
    published_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_key, load_id),
    UNIQUE (tenant_key, usage_month, usage_day, source, published_at)
);
COMMENT ON TABLE usage_load IS
    'One tenant''s usage of one UTC day from one source, as delivered once. Published whole, in one transaction, and never changed; the newest load of a day and source is in force.';
COMMENT ON COLUMN usage_load.tenant_key IS 'Whose usage.';
COMMENT ON COLUMN usage_load.load_id IS 'Key within the tenant.';
COMMENT ON COLUMN usage_load.usage_month IS 'First day of the month of usage_day; the partition of its records.';
COMMENT ON COLUMN usage_load.usage_day IS 'The UTC date on which its records start.';
COMMENT ON COLUMN usage_load.source IS 'Who delivered; days of different sources add up, loads of one source supersede each other.';
COMMENT ON COLUMN usage_load.import_id IS 'The delivery that it came with.';
COMMENT ON COLUMN usage_load.digest IS 'SHA-256 of its records as CSV lines of the report (LF, no header), in report order.';
COMMENT ON COLUMN usage_load.record_count IS 'How many records it has.';
COMMENT ON COLUMN usage_load.published_at IS 'When it was published, by the publication clock.';

CREATE TABLE usage_total (
    tenant_key bigint NOT NULL,
    load_id bigint NOT NULL,
    meter_key bigint NOT NULL REFERENCES meter,
    billing_region smallint NOT NULL CHECK (billing_region BETWEEN 1 AND 4),
    trial boolean NOT NULL,
    record_count integer NOT NULL CHECK (record_count > 0),
    quantity numeric NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (tenant_key, load_id, meter_key, billing_region, trial),
    FOREIGN KEY (tenant_key, load_id) REFERENCES usage_load
);
COMMENT ON TABLE usage_total IS 'What a load adds up to; written with it. Costs come from here, never from the records.';
COMMENT ON COLUMN usage_total.tenant_key IS 'Whose usage.';
COMMENT ON COLUMN usage_total.load_id IS 'Of which load.';
COMMENT ON COLUMN usage_total.meter_key IS 'Of which meter.';
COMMENT ON COLUMN usage_total.billing_region IS '1 AF, 2 AP, 3 EU, 4 NA.';
COMMENT ON COLUMN usage_total.trial IS 'Trial usage is shown and costs nothing.';
COMMENT ON COLUMN usage_total.record_count IS 'How many records were added up.';
COMMENT ON COLUMN usage_total.quantity IS 'The exact sum of their quantities, in the meter''s unit.';

-- No foreign keys here: the import resolves every key within the transaction that writes the load, and a check per row
-- and key would make imports several times slower (docs/decisions/004).
CREATE TABLE usage_record (
    tenant_key bigint NOT NULL,
    load_id bigint NOT NULL,
    asset_key bigint NOT NULL,
    meter_key bigint NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    trial_expiry timestamptz,
    usage_month date NOT NULL,
    row_number integer NOT NULL,
    asset_type smallint NOT NULL,
    billing_region smallint NOT NULL,
    platform smallint,
    trial boolean NOT NULL,
    quantity numeric NOT NULL,
    PRIMARY KEY (tenant_key, usage_month, load_id, row_number)
) PARTITION BY RANGE (usage_month);
COMMENT ON TABLE usage_record IS 'The records of loads, one partition a month.';
COMMENT ON COLUMN usage_record.tenant_key IS 'Whose usage.';
COMMENT ON COLUMN usage_record.load_id IS 'Of which load.';
COMMENT ON COLUMN usage_record.asset_key IS 'What generated it.';
COMMENT ON COLUMN usage_record.meter_key IS 'What was measured.';
COMMENT ON COLUMN usage_record.period_start IS 'The first moment of the period.';
COMMENT ON COLUMN usage_record.period_end IS 'The first moment after it; at most 24 h later and not past the month.';
COMMENT ON COLUMN usage_record.trial_expiry IS 'When the asset''s trial expires or expired; null: none.';
COMMENT ON COLUMN usage_record.usage_month IS 'First day of the month; the partition key.';
COMMENT ON COLUMN usage_record.row_number IS 'Position in the load in report order: 1, 2, 3, ... without gaps.';
COMMENT ON COLUMN usage_record.asset_type IS 'That of the asset, so that a filter needs no join.';
COMMENT ON COLUMN usage_record.billing_region IS '1 AF, 2 AP, 3 EU, 4 NA.';
COMMENT ON COLUMN usage_record.platform IS '1 mcp, 2 azure; null: does not apply.';
COMMENT ON COLUMN usage_record.trial IS 'Whether the asset was under a trial period.';
COMMENT ON COLUMN usage_record.quantity IS 'The amount measured, with its digits as delivered.';

-- Importers may not own tables; this is how months get their partitions all the same. The partition is attached rather
-- than created in place, because that lock lets running reports go on.
CREATE FUNCTION ensure_usage_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    partition_name text := format('usage_record_%s', to_char(month, 'YYYY_MM'));
BEGIN
    IF extract(day FROM month) <> 1 OR month NOT BETWEEN '0001-01-01' AND '9999-12-01' THEN
        RAISE EXCEPTION '% is not the first day of a month of the years 1 to 9999', month;
    END IF;
    IF to_regclass(quote_ident(partition_name)) IS NOT NULL THEN
        RETURN;
    END IF;
    -- What attaching takes too: importers take turns, and reports go on. After a lock on a table, unlike an advisory one,
    -- the catalog is looked at anew.
    LOCK TABLE usage_record IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(quote_ident(partition_name)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE usage_record INCLUDING ALL)', partition_name);
    EXECUTE format('ALTER TABLE usage_record ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition_name, month, (month + interval '1 month')::date);
END
$$;
-- Whoever may import is granted it by name.
REVOKE EXECUTE ON FUNCTION ensure_usage_month FROM PUBLIC;
COMMENT ON FUNCTION ensure_usage_month IS 'Makes sure that usage_record has a partition for the month.';

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
