//! Bills as the columns of FOCUS, held against the request, and what they bill against the totals.

use std::collections::BTreeMap;

use arrow_array::{
    Array as _, RecordBatch, StringArray, TimestampMicrosecondArray, cast::AsArray as _, types::Int32Type,
};
use arrow_flight::Ticket;
use arrow_schema::{Schema, SchemaRef};
use bigdecimal::BigDecimal;
use tonic::Status;

use super::slice::{self, GET, Next, Slice, StreamError};
use crate::{
    client::{
        Client, ClientError,
        retry::{Backoff, RETRYING, requested_delay},
    },
    contract::{decimal_text, proto::GetFocusCostsRequest},
    model::{FocusVersion, Month, MonthRange, OrganizationId, TenantId, UtcTime, plain},
};

#[derive(Clone, Copy, Debug)]
pub struct FocusQuery {
    pub organization_id: OrganizationId,
    pub tenant_id: Option<TenantId>,
    pub months: MonthRange,
    /// The usage, prices and statements as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    pub version: FocusVersion,
    /// Whether each line is shared among its assets.
    pub by_asset: bool,
}

/// What is not among the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FocusGaps {
    /// Lines with usage that no price covers.
    pub unpriced_lines: u64,
    /// Reports of tenants for which days are missing.
    pub incomplete_reports: u64,
}

/// Bills that are being read.
pub struct FocusDownload {
    client: Client,
    query: FocusQuery,
    schema: SchemaRef,
    ticket: Ticket,
    slice: Option<Slice>,
    backoff: Backoff,
    /// Of each bill.
    billed: BTreeMap<Month, BigDecimal>,
    received: u64,
    /// Once all rows were read.
    gaps: Option<FocusGaps>,
}

// === impl Client ===

impl Client {
    /// Asks for bills as columns of FOCUS. A stream that is cut behind its first row is an error: ask again.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongAnswer`] if the answer is not one to the question.
    pub async fn focus_costs(&mut self, query: &FocusQuery) -> Result<FocusDownload, ClientError> {
        let info = slice::info(self, "GetFocusCostsRequest", &query.to_request()).await?;
        let schema = info.clone().try_decode_schema();
        let schema = schema.map_err(|error| ClientError::malformed("schema", error.to_string()))?;
        query.check(&schema)?;
        let tickets: Option<Vec<Ticket>> = info.endpoint.into_iter().map(|endpoint| endpoint.ticket).collect();
        let Some([ticket]) = tickets.as_deref() else { return Err(ClientError::wrong("it has not one ticket")) };
        let mut download = FocusDownload {
            client: self.clone(),
            query: *query,
            schema: schema.into(),
            ticket: ticket.clone(),
            slice: None,
            backoff: Backoff::new(self.retry_for),
            billed: BTreeMap::new(),
            received: 0,
            gaps: None,
        };
        download.open().await?;
        Ok(download)
    }
}

// === impl FocusQuery ===

impl FocusQuery {
    fn to_request(self) -> GetFocusCostsRequest {
        GetFocusCostsRequest {
            organization_id: self.organization_id.to_string(),
            tenant_id: self.tenant_id.map(|id| id.to_string()).unwrap_or_default(),
            start_month: Some(self.months.start().into()),
            end_month: Some(self.months.end().into()),
            as_of: self.as_of.map(Into::into),
            version: self.version.code().into(),
            by_asset: self.by_asset,
        }
    }

    /// Whether columns are those that were asked for.
    fn check(&self, schema: &Schema) -> Result<(), ClientError> {
        let found = |name: &str| schema.metadata().get(name).map_or("", String::as_str);
        for (name, expected) in [
            ("organizationId", self.organization_id.to_string()),
            ("tenantId", self.tenant_id.map(|id| id.to_string()).unwrap_or_default()),
            ("startMonth", self.months.start().to_string()),
            ("endMonth", self.months.end().to_string()),
            ("focusVersion", self.version.to_string()),
            ("byAsset", self.by_asset.to_string()),
        ] {
            if found(name) != expected {
                return Err(ClientError::wrong(format!("its {name} is {:?}, not {expected:?}", found(name))));
            }
        }
        let as_of: UtcTime = found("asOf").parse().map_err(|_| ClientError::malformed("asOf", found("asOf")))?;
        match self.as_of {
            Some(asked) if asked != as_of => Err(ClientError::wrong(format!("it is as of {as_of}, not of {asked}"))),
            _ => Ok(()),
        }
    }

    /// Adds what rows bill.
    fn add(&self, batch: &RecordBatch, billed: &mut BTreeMap<Month, BigDecimal>) -> Result<(), ClientError> {
        self.check_account(batch, "BillingAccountId", Some(self.organization_id.to_string()))?;
        self.check_account(batch, "SubAccountId", self.tenant_id.map(|id| id.to_string()))?;
        let starts = batch.column_by_name("BillingPeriodStart").and_then(|column| {
            column.as_any().downcast_ref::<TimestampMicrosecondArray>().filter(|starts| starts.null_count() == 0)
        });
        let starts = starts.ok_or_else(|| lacks("BillingPeriodStart"))?;
        let costs = batch.column_by_name("BilledCost");
        let costs = costs.ok_or_else(|| lacks("BilledCost"))?;
        for row in 0..batch.num_rows() {
            let text = decimal_text(costs, row).ok_or_else(|| lacks("BilledCost"))?;
            let month = UtcTime::from_unix_micros(starts.value(row)).and_then(|start| Month::of(start.day()));
            let month = month.filter(|month| self.months.contains(*month));
            let month = month.ok_or_else(|| ClientError::wrong("a row is of a month that was not asked for"))?;
            *billed.entry(month).or_default() +=
                text.parse::<BigDecimal>().map_err(|_| ClientError::malformed("BilledCost", text))?;
        }
        Ok(())
    }

    /// Whether all rows are of the account that was asked for.
    fn check_account(&self, batch: &RecordBatch, name: &str, expected: Option<String>) -> Result<(), ClientError> {
        let column = batch.column_by_name(name).filter(|column| column.null_count() == 0);
        let column = column.and_then(|column| column.as_dictionary_opt::<Int32Type>());
        let values = column.and_then(|column| column.values().as_any().downcast_ref::<StringArray>());
        let values = values.ok_or_else(|| lacks(name))?;
        if expected.is_some_and(|expected| values.iter().any(|value| value != Some(&expected))) {
            return Err(ClientError::wrong(format!("a row has another {name} than was asked for")));
        }
        Ok(())
    }
}

fn lacks(column: &str) -> ClientError {
    ClientError::wrong(format!("its columns have no proper {column}"))
}

// === impl FocusDownload ===

impl FocusDownload {
    /// The columns, with what the rows are about as metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What is not among the rows; nothing is known before the end.
    pub fn gaps(&self) -> FocusGaps {
        self.gaps.unwrap_or_default()
    }

    /// The next batch; `None` when there are no more, and they bill what is due.
    ///
    /// # Errors
    ///
    /// [`ClientError::Truncated`]: the rest is missing. [`ClientError::is_untrusted`]: the rows so far must not be used.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, ClientError> {
        while self.gaps.is_none() {
            let Some(slice) = &mut self.slice else {
                self.open().await?;
                continue;
            };
            let (query, schema) = (self.query, self.schema.clone());
            let is_expected = move |found: &Schema| {
                let is_same = found.fields() == schema.fields();
                query.check(found).and(if is_same { Ok(()) } else { Err(ClientError::wrong("its columns changed")) })
            };
            let cause = match self.backoff.call(async { Ok(slice.next(is_expected).await) }).await {
                Ok(Ok(Next::Batch(batch))) => {
                    self.backoff.reset();
                    self.query.add(&batch, &mut self.billed)?;
                    self.received += batch.num_rows() as u64;
                    if batch.num_rows() == 0 {
                        continue;
                    }
                    return Ok(Some(super::with_schema(&self.schema, batch)?));
                }
                // An empty batch: the server is at work.
                Ok(Ok(Next::Nothing)) => {
                    self.backoff.reset();
                    continue;
                }
                Ok(Ok(Next::End)) if !slice.summary.is_empty() => {
                    let summary = slice.summary.clone();
                    self.gaps = Some(self.summary(&summary)?);
                    continue;
                }
                Ok(Ok(Next::End)) => Status::unavailable("it ended before its last batch"),
                Ok(Err(StreamError::Untrusted(error))) => return Err(error),
                Ok(Err(StreamError::Status(status))) | Err(status) => status,
            };
            if self.received > 0 {
                return Err(self.truncated(&cause));
            }
            let error = ClientError::from_status(&self.client.server, GET, &cause);
            self.backoff.wait(error, requested_delay(&cause), RETRYING).await?;
            self.slice = None;
        }
        Ok(None)
    }

    async fn open(&mut self) -> Result<(), ClientError> {
        while self.slice.is_none() {
            match self.backoff.call(Slice::open(&self.client, &self.ticket, 0)).await {
                Ok(slice) => self.slice = Some(slice),
                Err(status) => {
                    let error = ClientError::from_status(&self.client.server, GET, &status);
                    self.backoff.wait(error, requested_delay(&status), RETRYING).await?;
                }
            }
        }
        Ok(())
    }

    fn truncated(&self, status: &Status) -> ClientError {
        let cause = match ClientError::from_status(&self.client.server, GET, status) {
            error if !error.is_transient() => return error,
            ClientError::NoAnswer { cause, .. } => cause,
            error => error.to_string(),
        };
        ClientError::Truncated { received: self.received, cause }
    }

    /// Holds what the rows bill against the totals.
    fn summary(&self, summary: &[u8]) -> Result<FocusGaps, ClientError> {
        let malformed = || ClientError::Malformed("summary of bills".to_owned());
        let summary: serde_json::Value = serde_json::from_slice(summary).map_err(|_| malformed())?;
        let mut due = BTreeMap::new();
        for total in summary["totals"].as_array().ok_or_else(malformed)? {
            let part = |name: &str| total["month"][name].as_i64().and_then(|part| i32::try_from(part).ok());
            let month = part("year").zip(part("month")).and_then(|(year, month)| Month::new(year, month).ok());
            let amount = total["amountDue"].as_str().and_then(|amount| amount.parse::<BigDecimal>().ok());
            let (month, amount) = month.zip(amount).ok_or_else(malformed)?;
            due.insert(month, amount);
        }
        for month in self.query.months.iter() {
            let billed = self.billed.get(&month).cloned().unwrap_or_default();
            let due = due.get(&month).ok_or_else(|| ClientError::wrong(format!("it has no total of {month}")))?;
            if billed != *due {
                return Err(ClientError::wrong(format!(
                    "rows of {month} bill {}, but {} is due",
                    plain(&billed),
                    plain(due)
                )));
            }
        }
        let count = |name: &str| summary[name].as_str().and_then(|count| count.parse().ok()).ok_or_else(malformed);
        Ok(FocusGaps {
            unpriced_lines: count("unpricedLineCount")?,
            incomplete_reports: count("incompleteReportCount")?,
        })
    }
}
