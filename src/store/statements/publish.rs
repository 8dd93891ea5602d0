//! The transaction that publishes a statement: its lines first, without any lock; then, under the publish lock, its head.

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use tokio_postgres::{Client, Transaction};

use super::{BilledKey, Statement};
use crate::{
    database::{Statements as _, connect},
    model::{Month, OrganizationId, StatementNumber, UtcTime},
    statement::{Head, PublicKey, Signature},
    store::{StoreConfig, StoreError, TenantKey, clock, locks},
};

/// Two connections: one for the transaction that publishes, one to look whom it waits for.
pub struct ClosingSession {
    publisher: Client,
    observer: Client,
    max_clock_skew: std::time::Duration,
}

/// A statement that is being written. Dropping it leaves nothing behind.
pub struct NewStatement<'a> {
    transaction: Transaction<'a>,
    observer: &'a Client,
    max_clock_skew: std::time::Duration,
    id: i64,
    counts: [i32; 3],
}

/// A line or an adjustment to write.
pub struct StatementEntry {
    pub key: BilledKey,
    /// What it bills; `None`: no price covers it.
    pub amount: Option<BigDecimal>,
    /// Its canonical form.
    pub content: String,
}

/// What became of a statement.
#[derive(Debug)]
pub enum Published {
    Done(Box<Statement>),
    /// Another one of the organization was published meanwhile.
    Overtaken,
}

/// The head of a statement, its digest and its signature.
pub struct Sealed {
    pub head: Head,
    /// The canonical form.
    pub text: String,
    pub digest: [u8; 32],
    pub signature: Option<(PublicKey, Signature)>,
}

// === impl ClosingSession ===

impl ClosingSession {
    pub async fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let open = || connect(&config.database_url, config.connect_timeout);
        let (publisher, observer) = (open().await?, open().await?);
        clock::check(&observer, config.max_clock_skew).await?;
        Ok(Self { publisher, observer, max_clock_skew: config.max_clock_skew })
    }

    /// Begins to write a statement.
    pub async fn begin(&mut self) -> Result<NewStatement<'_>, StoreError> {
        let transaction = self.publisher.transaction().await?;
        let row = transaction.fetch_one("-- statement_id\nSELECT nextval('statement_id_seq') AS id", &[]).await?;
        Ok(NewStatement {
            id: row.try_get("id")?,
            transaction,
            observer: &self.observer,
            max_clock_skew: self.max_clock_skew,
            counts: [0; 3],
        })
    }
}

// === impl NewStatement ===

impl NewStatement<'_> {
    /// Writes the next lines, or the next adjustments.
    pub async fn write_lines(&mut self, entries: &[StatementEntry], adjustments: bool) -> Result<(), StoreError> {
        let numbers = self.numbers(usize::from(adjustments), entries.len());
        let tenants: Vec<i64> = entries.iter().map(|entry| entry.key.tenant.0).collect();
        let months: Vec<NaiveDate> = entries.iter().map(|entry| entry.key.month.first_day()).collect();
        let meters: Vec<i64> = entries.iter().map(|entry| entry.key.meter.0).collect();
        let regions: Vec<i16> = entries.iter().map(|entry| entry.key.billing_region.code()).collect();
        let amounts: Vec<Option<String>> =
            entries.iter().map(|entry| entry.amount.as_ref().map(BigDecimal::to_plain_string)).collect();
        let contents: Vec<&str> = entries.iter().map(|entry| entry.content.as_str()).collect();
        let sql = "-- write_statement_lines
            INSERT INTO statement_line (statement_id, adjustment, line_number, tenant_key, usage_month, meter_key,
                                        billing_region, amount, content)
            SELECT $1, $2, line_number, tenant_key, usage_month, meter_key, billing_region, amount::numeric, content
            FROM unnest($3::integer[], $4::bigint[], $5::date[], $6::bigint[], $7::smallint[], $8::text[], $9::text[])
                 AS new (line_number, tenant_key, usage_month, meter_key, billing_region, amount, content)";
        self.transaction
            .run(sql, &[&self.id, &adjustments, &numbers, &tenants, &months, &meters, &regions, &amounts, &contents])
            .await?;
        Ok(())
    }

    /// Writes the next reports, each in its canonical form.
    pub async fn write_reports(&mut self, reports: &[(TenantKey, String)]) -> Result<(), StoreError> {
        let numbers = self.numbers(2, reports.len());
        let (tenants, contents): (Vec<i64>, Vec<&str>) =
            reports.iter().map(|(tenant, content)| (tenant.0, content.as_str())).unzip();
        let sql = "-- write_statement_reports
            INSERT INTO statement_report (statement_id, report_number, tenant_key, content)
            SELECT $1, report_number, tenant_key, content
            FROM unnest($2::integer[], $3::bigint[], $4::text[]) AS new (report_number, tenant_key, content)";
        self.transaction.run(sql, &[&self.id, &numbers, &tenants, &contents]).await?;
        Ok(())
    }

    fn numbers(&mut self, list: usize, count: usize) -> Vec<i32> {
        let first = self.counts[list];
        self.counts[list] = first.saturating_add(i32::try_from(count).unwrap_or(i32::MAX));
        (first + 1..=self.counts[list]).collect()
    }

    /// Publishes the statement of an organization's month, which follows `previous`. `seal` makes the head, once the number
    /// and the time are known: imports wait meanwhile.
    pub async fn publish(
        self,
        organization: OrganizationId,
        month: Month,
        (horizon, previous): (UtcTime, Option<&Statement>),
        seal: impl FnOnce(StatementNumber, UtcTime) -> Sealed,
    ) -> Result<Published, StoreError> {
        let Self { transaction, observer, max_clock_skew, id, counts } = self;
        locks::lock_publishing(&transaction, observer).await?;
        let newest = "-- newest_statement
            SELECT (SELECT statement_id FROM statement WHERE organization_id = $1 ORDER BY billing_month DESC LIMIT 1) AS newest,
                   (SELECT coalesce(max(sequence_number), 0) FROM statement) + 1 AS next_number";
        let row = transaction.fetch_one(newest, &[&organization.as_uuid()]).await?;
        if row.try_get::<_, Option<i64>>("newest")? != previous.map(|previous| previous.id) {
            return Ok(Published::Overtaken);
        }
        let sequence: i64 = row.try_get("next_number")?;
        let closed_at = clock::tick(&transaction, max_clock_skew).await?;
        let number = StatementNumber { billing_month: month, sequence: sequence.cast_unsigned() };
        let Sealed { head, text, digest, signature } = seal(number, closed_at);
        if let Some((public, signature)) = &signature {
            let sql = "-- write_statement_key
                INSERT INTO statement_key (key_id, public_key, first_used_at) VALUES ($1, $2, $3)
                ON CONFLICT (key_id) DO NOTHING";
            transaction.run(sql, &[&signature.key_id, &public.0.as_slice(), &closed_at.as_chrono()]).await?;
        }
        let signature = signature.map(|(_, signature)| signature);
        let sql = "-- write_statement
            INSERT INTO statement (statement_id, organization_id, billing_month, previous_month, sequence_number, horizon,
                                   closed_at, line_count, adjustment_count, line_total, adjustment_total, head, digest,
                                   key_id, signature)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::numeric, $11::text::numeric, $12, $13, $14, $15)";
        let previous_month = previous.map(|previous| previous.billing_month.first_day());
        let [lines, adjustments, _] = counts;
        let totals = [&head.line_total, &head.adjustment_total].map(BigDecimal::to_plain_string);
        transaction
            .run(
                sql,
                &[
                    &id,
                    &organization.as_uuid(),
                    &month.first_day(),
                    &previous_month,
                    &sequence,
                    &horizon.as_chrono(),
                    &closed_at.as_chrono(),
                    &lines,
                    &adjustments,
                    &totals[0],
                    &totals[1],
                    &text,
                    &digest.as_slice(),
                    &signature.as_ref().map(|signature| signature.key_id.as_str()),
                    &signature.as_ref().map(|signature| signature.bytes.as_slice()),
                ],
            )
            .await?;
        transaction.commit().await?;
        Ok(Published::Done(Box::new(Statement {
            id,
            number,
            billing_month: month,
            horizon,
            closed_at,
            line_total: head.line_total,
            adjustment_total: head.adjustment_total,
            head: text,
            digest,
            signature,
        })))
    }
}
