-- Which loads are in force was stated in eight statements. This function states it once (docs/decisions/035).

-- A string, not a parsed body, so that `*` has the columns that later migrations add to usage_load. Without STRICT, SECURITY
-- DEFINER and SET, so that the planner puts it in the place of its call and uses the indexes of usage_load: the unique one
-- has this order backwards, so that nothing is sorted.
CREATE FUNCTION loads_in_force(of_tenant bigint, first_day date, last_day date, snapshot timestamptz)
RETURNS SETOF usage_load
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT DISTINCT ON (usage_day, source) *
    FROM usage_load
    WHERE tenant_key = of_tenant AND usage_month = date_trunc('month', first_day::timestamp)::date
      AND usage_day BETWEEN first_day AND last_day AND published_at <= snapshot
    ORDER BY usage_day DESC, source DESC, published_at DESC
$$;
COMMENT ON FUNCTION loads_in_force IS
    'The loads of a tenant that are in force at a moment, for days of one month: of each day and source, the newest that was published until then.';

CREATE OR REPLACE FUNCTION add_usage_months(tenants bigint[], months date[], at timestamptz) RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    INSERT INTO usage_month (tenant_key, usage_month, published_at, revision)
    SELECT t.tenant_key, changed.usage_month, at,
           sha256(convert_to(t.tenant_id || to_char(changed.usage_month, ' YYYY-MM') || E'\n', 'UTF8')
                  || coalesce(string_agg(convert_to(to_char(l.usage_day, 'YYYY-MM-DD ') || l.source || ' ', 'UTF8') || l.digest,
                                         ''::bytea ORDER BY l.usage_day, l.source) FILTER (WHERE l.record_count > 0),
                              ''::bytea))
    FROM (SELECT DISTINCT tenant_key, usage_month, (usage_month + interval '1 month')::date - 1
          FROM unnest(tenants, months) AS months (tenant_key, usage_month)) AS changed (tenant_key, usage_month, last_day)
    JOIN tenant t ON t.tenant_key = changed.tenant_key
    CROSS JOIN LATERAL loads_in_force(changed.tenant_key, changed.usage_month, changed.last_day, at) l
    GROUP BY t.tenant_key, t.tenant_id, changed.usage_month;

    INSERT INTO usage_month_total (tenant_key, usage_month, published_at, meter_key, billing_region, trial, record_count,
                                   quantity)
    SELECT changed.tenant_key, changed.usage_month, at, total.meter_key, total.billing_region, total.trial,
           sum(total.record_count), sum(total.quantity)
    FROM (SELECT DISTINCT tenant_key, usage_month, (usage_month + interval '1 month')::date - 1
          FROM unnest(tenants, months) AS months (tenant_key, usage_month)) AS changed (tenant_key, usage_month, last_day)
    CROSS JOIN LATERAL loads_in_force(changed.tenant_key, changed.usage_month, changed.last_day, at) l
    JOIN usage_total total ON total.tenant_key = changed.tenant_key AND total.load_id = l.load_id
    GROUP BY changed.tenant_key, changed.usage_month, total.meter_key, total.billing_region, total.trial
$$;
