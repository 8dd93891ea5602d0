-- What a tenant's month adds up to, written with every publication that changes it. Bills read this, so what they cost to
-- compute depends on tenants and months, and neither on records nor on how many days were delivered.

CREATE TABLE usage_month (
    tenant_key bigint NOT NULL REFERENCES tenant,
    usage_month date NOT NULL CHECK (extract(day FROM usage_month) = 1),
    published_at timestamptz NOT NULL,
    revision bytea NOT NULL CHECK (octet_length(revision) = 32),
    PRIMARY KEY (tenant_key, usage_month, published_at)
);
COMMENT ON TABLE usage_month IS 'A tenant''s month as it stood from a publication on. Never changed; the newest one counts.';
COMMENT ON COLUMN usage_month.tenant_key IS 'Whose usage.';
COMMENT ON COLUMN usage_month.usage_month IS 'First day of the month.';
COMMENT ON COLUMN usage_month.published_at IS 'When the newest of its loads was published.';
COMMENT ON COLUMN usage_month.revision IS 'SHA-256 of the tenant, the month and its loads in force: the revision of the report.';

CREATE TABLE usage_month_total (
    tenant_key bigint NOT NULL,
    usage_month date NOT NULL,
    published_at timestamptz NOT NULL,
    meter_key bigint NOT NULL REFERENCES meter,
    billing_region smallint NOT NULL CHECK (billing_region BETWEEN 1 AND 4),
    trial boolean NOT NULL,
    record_count bigint NOT NULL CHECK (record_count > 0),
    quantity numeric NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (tenant_key, usage_month, published_at, meter_key, billing_region, trial),
    FOREIGN KEY (tenant_key, usage_month, published_at) REFERENCES usage_month
);
COMMENT ON TABLE usage_month_total IS 'What a tenant''s month adds up to: the totals of its loads in force, added up.';
COMMENT ON COLUMN usage_month_total.tenant_key IS 'Whose usage.';
COMMENT ON COLUMN usage_month_total.usage_month IS 'First day of the month.';
COMMENT ON COLUMN usage_month_total.published_at IS 'From which publication on.';
COMMENT ON COLUMN usage_month_total.meter_key IS 'Of which meter.';
COMMENT ON COLUMN usage_month_total.billing_region IS '1 AF, 2 AP, 3 EU, 4 NA.';
COMMENT ON COLUMN usage_month_total.trial IS 'Trial usage is shown and costs nothing.';
COMMENT ON COLUMN usage_month_total.record_count IS 'How many records were added up.';
COMMENT ON COLUMN usage_month_total.quantity IS 'The exact sum of their quantities, in the meter''s unit.';

CREATE FUNCTION add_usage_months(tenants bigint[], months date[], at timestamptz) RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    INSERT INTO usage_month (tenant_key, usage_month, published_at, revision)
    SELECT t.tenant_key, changed.usage_month, at,
           sha256(convert_to(t.tenant_id || to_char(changed.usage_month, ' YYYY-MM') || E'\n', 'UTF8')
                  || string_agg(convert_to(to_char(l.usage_day, 'YYYY-MM-DD ') || l.source || ' ', 'UTF8') || l.digest,
                                ''::bytea ORDER BY l.usage_day, l.source))
    FROM (SELECT DISTINCT * FROM unnest(tenants, months)) AS changed (tenant_key, usage_month)
    JOIN tenant t ON t.tenant_key = changed.tenant_key
    CROSS JOIN LATERAL (
        SELECT DISTINCT ON (u.usage_day, u.source) u.usage_day, u.source, u.digest
        FROM usage_load u
        WHERE u.tenant_key = changed.tenant_key AND u.usage_month = changed.usage_month AND u.published_at <= at
        ORDER BY u.usage_day, u.source, u.published_at DESC
    ) l
    GROUP BY t.tenant_key, t.tenant_id, changed.usage_month;

    INSERT INTO usage_month_total (tenant_key, usage_month, published_at, meter_key, billing_region, trial, record_count,
                                   quantity)
    SELECT changed.tenant_key, changed.usage_month, at, total.meter_key, total.billing_region, total.trial,
           sum(total.record_count), sum(total.quantity)
    FROM (SELECT DISTINCT * FROM unnest(tenants, months)) AS changed (tenant_key, usage_month)
    CROSS JOIN LATERAL (
        SELECT DISTINCT ON (u.usage_day, u.source) u.load_id
        FROM usage_load u
        WHERE u.tenant_key = changed.tenant_key AND u.usage_month = changed.usage_month AND u.published_at <= at
        ORDER BY u.usage_day, u.source, u.published_at DESC
    ) l
    JOIN usage_total total ON total.tenant_key = changed.tenant_key AND total.load_id = l.load_id
    GROUP BY changed.tenant_key, changed.usage_month, total.meter_key, total.billing_region, total.trial
$$;
COMMENT ON FUNCTION add_usage_months IS 'Adds months of tenants as they stand at a moment, which is that of the publication that changed them.';

-- What was published before.
SELECT add_usage_months(array_agg(tenant_key), array_agg(usage_month), published_at)
FROM (SELECT DISTINCT tenant_key, usage_month, published_at FROM usage_load) AS changed
GROUP BY published_at;

-- Assets are looked up by all that they are. Where most tenants have one asset, the planner takes the tenant to say as
-- much, and reads all assets of a new, large one for each of them.
ALTER TABLE asset ALTER COLUMN tenant_key SET (n_distinct = 2);
