//! Writes what loads make of their months.

use chrono::NaiveDate;
use tokio_postgres::Transaction;

use super::insert::ChangedLoad;
use crate::{
    database::Statements as _,
    model::UtcTime,
    store::{LoadKey, StoreError},
};

/// Writes the months that loads belong to as they stand now. Totals are added to those of before, and those of superseded
/// loads are taken away; only the revision goes over all loads in force.
pub(super) async fn add_months(
    transaction: &Transaction<'_>,
    loads: &[ChangedLoad<'_>],
    superseded: &[(LoadKey, i64)],
    published_at: UtcTime,
) -> Result<(), StoreError> {
    let added_tenants: Vec<i64> = loads.iter().map(|changed| changed.load.key.tenant.0).collect();
    let added_months: Vec<NaiveDate> = loads.iter().map(|changed| changed.load.month.first_day()).collect();
    let added: Vec<&str> = loads.iter().map(|changed| changed.totals).collect();
    let mut months: Vec<(i64, NaiveDate)> = added_tenants.iter().copied().zip(added_months.iter().copied()).collect();
    months.sort_unstable();
    months.dedup();
    let (tenants, months): (Vec<i64>, Vec<NaiveDate>) = months.into_iter().unzip();
    let (taken_tenants, taken): (Vec<i64>, Vec<i64>) = superseded.iter().map(|&(key, id)| (key.tenant.0, id)).unzip();
    transaction
        .run(
            "-- add_months
            WITH changed AS (
                SELECT tenant_key, usage_month, (usage_month + interval '1 month')::date - 1 AS last_day
                FROM unnest($1::bigint[], $2::date[]) AS changed (tenant_key, usage_month)
            ),
            part AS (
                SELECT changed.tenant_key, changed.usage_month, before.totals, 1 AS sign
                FROM changed CROSS JOIN LATERAL (
                    SELECT totals FROM usage_month m
                    WHERE m.tenant_key = changed.tenant_key AND m.usage_month = changed.usage_month
                    ORDER BY published_at DESC LIMIT 1
                ) AS before
                UNION ALL
                SELECT tenant_key, usage_month, totals::usage_sum[], 1
                FROM unnest($3::bigint[], $4::date[], $5::text[]) AS added (tenant_key, usage_month, totals)
                UNION ALL
                SELECT taken.tenant_key, l.usage_month, l.totals, -1
                FROM unnest($6::bigint[], $7::bigint[]) AS taken (tenant_key, load_id)
                CROSS JOIN LATERAL (
                    SELECT usage_month, totals FROM usage_load l
                    WHERE l.tenant_key = taken.tenant_key AND l.load_id = taken.load_id OFFSET 0
                ) AS l
            ),
            total AS (
                SELECT tenant_key, usage_month, meter_key, billing_region, trial,
                       sum(sign * record_count)::bigint AS record_count, trim_scale(sum(sign * quantity)) AS quantity
                FROM part CROSS JOIN LATERAL unnest(totals)
                GROUP BY tenant_key, usage_month, meter_key, billing_region, trial
                HAVING sum(sign * record_count) <> 0
            ),
            totals AS (
                SELECT tenant_key, usage_month,
                       array_agg(ROW(meter_key, billing_region, trial, record_count, quantity)::usage_sum
                                 ORDER BY meter_key, billing_region, trial) AS totals
                FROM total
                GROUP BY tenant_key, usage_month
            )
            INSERT INTO usage_month (tenant_key, usage_month, published_at, revision, totals)
            SELECT changed.tenant_key, changed.usage_month, $8,
                   sha256(convert_to(tenant.tenant_id || to_char(changed.usage_month, ' YYYY-MM') || E'\n', 'UTF8')
                          || coalesce(manifest.loads, '')),
                   coalesce(totals.totals, '{}')
            FROM changed
            CROSS JOIN LATERAL (SELECT tenant_id FROM tenant t WHERE t.tenant_key = changed.tenant_key OFFSET 0) AS tenant
            CROSS JOIN LATERAL (
                SELECT string_agg(convert_to(usage_day || ' ' || source || ' ', 'UTF8') || digest, ''
                                  ORDER BY usage_day, source) AS loads
                FROM loads_in_force(changed.tenant_key, changed.usage_month, changed.last_day, $8)
                WHERE record_count > 0
            ) AS manifest
            LEFT JOIN totals USING (tenant_key, usage_month)",
            &[
                &tenants,
                &months,
                &added_tenants,
                &added_months,
                &added,
                &taken_tenants,
                &taken,
                &published_at.as_chrono(),
            ],
        )
        .await?;
    Ok(())
}
