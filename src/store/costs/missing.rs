//! Days that a source has not delivered.

use chrono::{Datelike as _, NaiveDate};

use super::CostReader;
use crate::{
    database::{Binds, Statements as _},
    model::{Month, TenantId},
    store::{StoreError, columns},
};

/// Days of a tenant's month that a source has not delivered, between the first and the last one that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingDays {
    pub month: Month,
    pub tenant: TenantId,
    pub source: String,
    /// In order.
    pub days: Vec<NaiveDate>,
}

impl CostReader {
    /// The days that are missing in months of tenants, by tenant and source. A day that was withdrawn was delivered.
    pub async fn missing_days(&self, months: &[(TenantId, Month)]) -> Result<Vec<MissingDays>, StoreError> {
        if months.is_empty() {
            return Ok(Vec::new());
        }
        // Added up for each tenant by itself: otherwise the planner may read the loads of all tenants.
        let sql = "-- missing_days
            SELECT t.tenant_id, delivered.*
            FROM unnest($1::uuid[], $2::date[]) AS asked (tenant_id, first_day)
            JOIN tenant t ON t.tenant_id = asked.tenant_id
            CROSS JOIN LATERAL (
                SELECT usage_month, source, bit_or(1::bigint << (usage_day - usage_month)) AS days
                FROM usage_load
                WHERE tenant_key = t.tenant_key AND usage_month = asked.first_day AND published_at <= $3
                GROUP BY usage_month, source
            ) AS delivered
            -- Days in a row are a number of ones in a row: with the lowest added, one bit is left.
            WHERE days + (days & -days) & days <> 0
            ORDER BY usage_month, tenant_id, source";
        let (tenants, first_days): (Vec<_>, Vec<NaiveDate>) =
            months.iter().map(|(tenant, month)| (tenant.as_uuid(), month.first_day())).unzip();
        let binds: Binds<'_> = &[&tenants, &first_days, &self.query.snapshot.time().as_chrono()];
        let rows = self.connection.fetch_all(sql, binds).await?;
        let missing = rows.iter().map(|row| {
            let month = columns::month(row, "usage_month")?;
            let days: i64 = row.try_get("days")?;
            Ok(MissingDays {
                month,
                tenant: TenantId::from_uuid(row.try_get("tenant_id")?),
                source: row.try_get("source")?,
                days: gaps(month, days),
            })
        });
        missing.collect()
    }
}

/// The days of a month between the first and the last delivered one that are not among them; bit 0 is the first.
fn gaps(month: Month, delivered: i64) -> Vec<NaiveDate> {
    let days = month.first_day().iter_days().take_while(|day| Month::of(*day) == Some(month));
    let inner = delivered.trailing_zeros()..64 - delivered.leading_zeros();
    days.filter(|day| inner.contains(&day.day0()) && delivered >> day.day0() & 1 == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_between_the_first_and_the_last_day() {
        let month: Month = "2024-02".parse().expect("a month");
        let days = |days: &[u32]| gaps(month, days.iter().fold(0, |bits, day| bits | 1 << (day - 1)));
        let day = |day: u32| month.first_day().with_day(day).expect("a day");
        assert_eq!(days(&[]), []);
        assert_eq!(days(&[29]), []);
        assert_eq!(days(&[3, 4, 5]), []);
        assert_eq!(
            days(&[1, 4, 6, 29]),
            (2..=28).filter(|number| ![4, 6].contains(number)).map(day).collect::<Vec<_>>()
        );
        let january: Month = "2024-01".parse().expect("a month");
        let last = january.first_day().with_day(30).expect("a day");
        assert_eq!(gaps(january, 1 << 30 | 1 << 28), [last]);
    }
}
