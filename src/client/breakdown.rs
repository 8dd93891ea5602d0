//! `GetCostBreakdown`: a stream of rows, each held against the request, and all of them against the totals.

use bytes::Bytes;
use tonic::{Status, Streaming};

use super::{
    Client, ClientError,
    breakdown_check::{BreakdownCheck, check_header},
    resuming::END_LIMIT,
    retry::{Backoff, RETRYING, requested_delay},
};
use crate::{
    contract::{
        Fields, WireValue,
        proto::{self, BreakdownHeader, BreakdownReport, BreakdownSummary, BreakdownTotal, CostBasis, CostShare},
    },
    model::{BillSubject, BreakdownFilter, CostGroups, MonthRange, UtcTime},
};

const CALL: &str = "GetCostBreakdown";
/// The numbers of the fields of `GetCostBreakdownResponse`, and of `BreakdownSummary.totals`.
const HEADER: u32 = 1;
const ROWS: u32 = 2;
const REPORTS: u32 = 3;
const SUMMARY: u32 = 4;
const TOTALS: u32 = 2;

#[derive(Clone, Debug)]
pub struct BreakdownQuery {
    pub subject: BillSubject,
    pub months: MonthRange,
    /// What lines are shared among; none: rows are the lines.
    pub groups: CostGroups,
    pub filter: BreakdownFilter,
    /// The usage and prices as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    /// What closed months would cost now, instead of what their statements have billed.
    pub current: bool,
}

/// A breakdown that is being read.
pub struct CostBreakdown {
    header: BreakdownHeader,
    stream: Streaming<Bytes>,
    /// The message with the header, until [`next`](Self::next) reads it.
    first: Option<Bytes>,
    check: BreakdownCheck,
    totals: Option<Vec<BreakdownTotal>>,
    backoff: Backoff,
    server: String,
}

/// Rows that follow each other.
#[derive(Clone, Debug, Default)]
pub struct BreakdownRows {
    pub rows: Vec<CostShare>,
    /// The reports whose first row is among them.
    pub reports: Vec<BreakdownReport>,
}

/// A message, taken apart.
#[derive(Default)]
struct Part {
    header: Option<BreakdownHeader>,
    rows: BreakdownRows,
    summary: Option<BreakdownSummary>,
}

// === impl Client ===

impl Client {
    /// Asks what parts of a bill cost. A stream that is cut is an error: ask again.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongAnswer`] if the answer is not one to the question.
    pub async fn cost_breakdown(&mut self, query: &BreakdownQuery) -> Result<CostBreakdown, ClientError> {
        let request = query.to_request();
        let mut backoff = Backoff::new(self.retry_for);
        loop {
            match backoff.call(self.open_breakdown(&request)).await {
                Ok((stream, first)) => {
                    let header = Part::read(&first)?.header;
                    let header = header.ok_or_else(|| ClientError::Malformed("first message: no header".to_owned()))?;
                    let organization_id = check_header(&header, query)?;
                    let check = BreakdownCheck::new(query.clone(), organization_id, header.currency.clone());
                    let (first, server) = (Some(first), self.server.clone());
                    return Ok(CostBreakdown { header, stream, first, check, totals: None, backoff, server });
                }
                Err(status) => {
                    let error = ClientError::from_status(&self.server, CALL, &status);
                    backoff.wait(error, requested_delay(&status), RETRYING).await?;
                }
            }
        }
    }

    /// A stream, and its first message.
    async fn open_breakdown(
        &self,
        request: &proto::GetCostBreakdownRequest,
    ) -> Result<(Streaming<Bytes>, Bytes), Status> {
        let mut stream = self.stream(CALL, request.clone()).await?;
        let first = stream.message().await?;
        Ok((stream, first.ok_or_else(|| Status::unavailable("the stream ended before it began"))?))
    }
}

// === impl BreakdownQuery ===

impl BreakdownQuery {
    fn to_request(&self) -> proto::GetCostBreakdownRequest {
        let (organization, tenant) = match self.subject {
            BillSubject::Organization(organization, tenant) => (Some(organization), tenant),
            BillSubject::Tenant(tenant) => (None, Some(tenant)),
        };
        let filter = &self.filter;
        proto::GetCostBreakdownRequest {
            organization_id: organization.map(|id| id.to_string()).unwrap_or_default(),
            tenant_id: tenant.map(|id| id.to_string()).unwrap_or_default(),
            start_month: Some(self.months.start().into()),
            end_month: Some(self.months.end().into()),
            group_by: self.groups.iter().map(|group| group.code().into()).collect(),
            filter: Some(proto::BreakdownFilter {
                asset_types: filter.asset_types.iter().map(|value| value.code().into()).collect(),
                asset_ids: filter.asset_ids.clone(),
                meter_names: filter.meter_names.clone(),
                billing_regions: filter.billing_regions.iter().map(|value| value.code().into()).collect(),
            }),
            as_of: self.as_of.map(Into::into),
            basis: if self.current { CostBasis::Current } else { CostBasis::Bill }.into(),
        }
    }
}

// === impl CostBreakdown ===

impl CostBreakdown {
    /// What the breakdown is of.
    pub fn header(&self) -> &BreakdownHeader {
        &self.header
    }

    /// What the rows add up to in each month; none before the end.
    pub fn totals(&self) -> &[BreakdownTotal] {
        self.totals.as_deref().unwrap_or_default()
    }

    /// The next rows; `None` when the breakdown is complete and adds up to its totals.
    ///
    /// # Errors
    ///
    /// [`ClientError::Truncated`]: the rest is missing. [`ClientError::is_untrusted`]: the rows so far must not be used.
    pub async fn next(&mut self) -> Result<Option<BreakdownRows>, ClientError> {
        while self.totals.is_none() {
            let (bytes, is_first) = match self.first.take() {
                Some(first) => (first, true),
                None => (self.message().await?, false),
            };
            let Part { header, rows, summary } = Part::read(&bytes)?;
            if header.is_some() != is_first {
                return Err(ClientError::wrong("its header came twice"));
            }
            self.check.rows(&rows.rows, &rows.reports)?;
            self.backoff.reset();
            if let Some(summary) = summary {
                self.check.summary(&summary)?;
                self.totals = Some(summary.totals);
                self.expect_end().await?;
            }
            if !rows.rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    async fn message(&mut self) -> Result<Bytes, ClientError> {
        let cause = match self.backoff.call(self.stream.message()).await {
            Ok(Some(message)) => return Ok(message),
            Ok(None) => "without its summary".to_owned(),
            Err(status) => match ClientError::from_status(&self.server, CALL, &status) {
                error if !error.is_transient() => return Err(error),
                ClientError::NoAnswer { cause, .. } => cause,
                error => error.to_string(),
            },
        };
        Err(ClientError::Truncated { received: self.check.row_count(), cause })
    }

    /// Nothing may follow a summary. If the stream ends in another way, the breakdown is complete all the same.
    async fn expect_end(&mut self) -> Result<(), ClientError> {
        match tokio::time::timeout(END_LIMIT, self.stream.message()).await {
            Ok(Ok(Some(_))) => Err(ClientError::wrong("it goes on after its summary")),
            _ => Ok(()),
        }
    }
}

// === impl Part ===

impl Part {
    /// Rows are decoded one by one: a message of empty ones would be a hundred times as large.
    fn read(message: &[u8]) -> Result<Self, ClientError> {
        let mut part = Self::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next() {
            let WireValue::Bytes(bytes) = value else { continue };
            match number {
                ROWS => part.rows.rows.push(decode("row", not_empty(bytes)?)?),
                REPORTS => part.rows.reports.push(decode("report", not_empty(bytes)?)?),
                HEADER if part.header.is_none() => part.header = Some(decode("header", bytes)?),
                SUMMARY if part.summary.is_none() => part.summary = Some(read_summary(bytes)?),
                HEADER | SUMMARY => return Err(ClientError::wrong("a message has two headers or summaries")),
                _ => {}
            }
        }
        if fields.rest.is_empty() { Ok(part) } else { Err(ClientError::Malformed("message".to_owned())) }
    }
}

/// Rows and reports name a tenant, at least.
fn not_empty(element: &[u8]) -> Result<&[u8], ClientError> {
    const MIN_BYTES: usize = 36;
    if element.len() >= MIN_BYTES { Ok(element) } else { Err(ClientError::wrong("it has an empty row or report")) }
}

fn read_summary(summary: &[u8]) -> Result<BreakdownSummary, ClientError> {
    let mut fields = Fields::new(summary);
    let mut totals = 0;
    while let Some((number, _)) = fields.next() {
        totals += usize::from(number == TOTALS);
    }
    if i32::try_from(totals).map_or(true, |totals| totals > MonthRange::MAX_MONTHS) {
        return Err(ClientError::wrong(format!("its summary has {totals} totals")));
    }
    decode("summary", summary)
}

fn decode<M: prost::Message + Default>(what: &str, bytes: &[u8]) -> Result<M, ClientError> {
    M::decode(bytes).map_err(|error| ClientError::malformed(what, error.to_string()))
}
