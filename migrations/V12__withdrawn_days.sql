-- A day can be withdrawn: a load without records supersedes the one that had some. What has no records is no part of a
-- month's content, so that a month is the same whether a day was never delivered or was withdrawn.

CREATE OR REPLACE FUNCTION add_usage_months(tenants bigint[], months date[], at timestamptz) RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    INSERT INTO usage_month (tenant_key, usage_month, published_at, revision)
    SELECT t.tenant_key, changed.usage_month, at,
           sha256(convert_to(t.tenant_id || to_char(changed.usage_month, ' YYYY-MM') || E'\n', 'UTF8')
                  || coalesce(string_agg(convert_to(to_char(l.usage_day, 'YYYY-MM-DD ') || l.source || ' ', 'UTF8') || l.digest,
                                         ''::bytea ORDER BY l.usage_day, l.source) FILTER (WHERE l.record_count > 0),
                              ''::bytea))
    FROM (SELECT DISTINCT * FROM unnest(tenants, months)) AS changed (tenant_key, usage_month)
    JOIN tenant t ON t.tenant_key = changed.tenant_key
    CROSS JOIN LATERAL (
        SELECT DISTINCT ON (u.usage_day, u.source) u.usage_day, u.source, u.digest, u.record_count
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
COMMENT ON COLUMN usage_month.revision IS
    'SHA-256 of the tenant, the month and its loads in force that have records: the revision of the report.';
COMMENT ON COLUMN usage_load.record_count IS 'How many records it has; 0: the day was withdrawn.';
COMMENT ON TABLE usage_import IS
    'A delivery of usage that changed something: the files of one command, one call of ImportUsage, or a withdrawal.';
COMMENT ON COLUMN usage_import.file_name IS 'What was delivered: the names of the files, "-" for standard input.';
COMMENT ON COLUMN usage_block.period_ends IS 'The first moment after it; at most 25 h later and not past the month.';

-- Composed characters and their parts are one where people search. The service looks for ids by this index.
CREATE INDEX asset_composed_id ON asset (tenant_key, normalize(asset_id))
    WHERE octet_length(asset_id) <> char_length(asset_id);
UPDATE tenant SET search_text = normalize(search_text) WHERE search_text IS NOT NORMALIZED;
