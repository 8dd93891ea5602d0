//! `CompareCosts`: the whole stream, each line held against the request, and all of them against the summary.

mod check;

use bytes::Bytes;
use prost::Message;
use tonic::Status;

use super::{
    Client, ClientError, MAX_RESTARTS,
    pages::Retained,
    retry::{Backoff, RETRYING, requested_delay},
};
use crate::{
    contract::{
        Fields, Reason, WireValue,
        proto::{
            self, ComparedLine, ComparisonHeader, ComparisonSummary, CostBasis, CostSide, MovedAsset, PriceListDraft,
        },
    },
    model::{Month, OrganizationId, TenantId, UtcTime},
};
use check::ComparisonCheck;

const CALL: &str = "CompareCosts";
/// The numbers of the fields of `CompareCostsResponse`.
const HEADER: u32 = 1;
const LINES: u32 = 2;
const ASSETS: u32 = 3;
const SUMMARY: u32 = 4;

#[derive(Clone, Debug)]
pub struct CompareQuery {
    pub organization_id: OrganizationId,
    pub tenant_id: Option<TenantId>,
    pub base: BillQuery,
    pub target: BillQuery,
    /// How many of the assets that moved most to name; at most 100.
    pub top_assets: u16,
}

/// A bill to compare.
#[derive(Clone, Debug)]
pub struct BillQuery {
    pub month: Month,
    /// As it was at this time; `None`: now, which is one moment for both bills.
    pub as_of: Option<UtcTime>,
    /// What a closed month would cost now, instead of what its statement has billed.
    pub current: bool,
    /// Rated by a draft of a price list; on one of the two bills.
    pub draft: Option<PriceListDraft>,
}

/// Two bills compared.
#[derive(Clone, Debug, Default)]
pub struct CostComparison {
    pub header: ComparisonHeader,
    /// By tenant name, tenant id, meter name and region.
    pub lines: Vec<ComparedLine>,
    /// Those that moved most, the most first.
    pub assets: Vec<MovedAsset>,
    pub summary: ComparisonSummary,
}

/// A message, taken apart.
#[derive(Default)]
struct Part {
    header: Option<ComparisonHeader>,
    lines: Vec<ComparedLine>,
    assets: Vec<MovedAsset>,
    summary: Option<ComparisonSummary>,
}

/// Why a stream was not read to its end.
enum Cut {
    /// How the server ended it.
    Status(Status),
    Wrong(ClientError),
}

// === impl Client ===

impl Client {
    /// Compares two bills. A stream that is cut is asked for again.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongAnswer`] if the answer is not one to the question, or does not add up.
    pub async fn compare_costs(&mut self, query: &CompareQuery) -> Result<CostComparison, ClientError> {
        let request = query.to_request();
        let mut backoff = Backoff::new(self.retry_for);
        let mut restarts = 0;
        loop {
            let mut has_begun = false;
            let status = match self.read_comparison(&request, query, &mut backoff, &mut has_begun).await {
                Ok(comparison) => return Ok(comparison),
                Err(Cut::Wrong(error)) => return Err(error),
                Err(Cut::Status(status)) => status,
            };
            let error = ClientError::from_status(&self.server, CALL, &status);
            // Each beginning is progress, so that there is no other end to it.
            restarts += u32::from(has_begun);
            if restarts > MAX_RESTARTS {
                return Err(error);
            }
            let names_changed =
                matches!(&error, ClientError::Refused { reason, .. } if reason == Reason::NamesChanged.as_str());
            if !(names_changed && has_begun) {
                backoff.wait(error, requested_delay(&status), RETRYING).await?;
            }
        }
    }

    async fn read_comparison(
        &self,
        request: &proto::CompareCostsRequest,
        query: &CompareQuery,
        backoff: &mut Backoff,
        has_begun: &mut bool,
    ) -> Result<CostComparison, Cut> {
        let mut stream = backoff.call(self.stream(CALL, request.clone())).await?;
        let mut comparison = CostComparison::default();
        let mut check = ComparisonCheck::new(query);
        let mut retained = Retained::default();
        while let Some(message) = backoff.call(stream.message()).await? {
            backoff.reset();
            retained.add(message.len())?;
            let Part { header, lines, assets, summary } = Part::read(&message)?;
            if header.is_some() == *has_begun {
                return Err(ClientError::wrong("its header is not in its first message").into());
            }
            *has_begun = true;
            if let Some(header) = header {
                check.header(&header)?;
                comparison.header = header;
            }
            for line in lines {
                check.line(comparison.lines.last(), &line)?;
                comparison.lines.push(line);
            }
            for asset in assets {
                check.asset(comparison.assets.last(), &asset)?;
                comparison.assets.push(asset);
            }
            if let Some(summary) = summary {
                check.summary(&summary, comparison.assets.len())?;
                return Ok(CostComparison { summary, ..comparison });
            }
        }
        Err(Cut::Status(Status::unavailable("the stream ended without its summary")))
    }
}

impl From<Status> for Cut {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<ClientError> for Cut {
    fn from(error: ClientError) -> Self {
        Self::Wrong(error)
    }
}

// === impl CompareQuery ===

impl CompareQuery {
    fn to_request(&self) -> proto::CompareCostsRequest {
        proto::CompareCostsRequest {
            organization_id: self.organization_id.to_string(),
            tenant_id: self.tenant_id.map(|id| id.to_string()).unwrap_or_default(),
            base: Some(self.base.to_side()),
            target: Some(self.target.to_side()),
            top_assets: Some(self.top_assets.into()),
        }
    }
}

// === impl BillQuery ===

impl BillQuery {
    fn to_side(&self) -> CostSide {
        CostSide {
            month: Some(self.month.into()),
            as_of: self.as_of.map(Into::into),
            basis: if self.current { CostBasis::Current } else { CostBasis::Bill }.into(),
            draft: self.draft.clone(),
        }
    }
}

// === impl Part ===

impl Part {
    /// Lines are decoded one by one: a message of empty ones would be a hundred times as large.
    fn read(message: &Bytes) -> Result<Self, ClientError> {
        let mut part = Self::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next() {
            let WireValue::Bytes(bytes) = value else { continue };
            match number {
                LINES => part.lines.push(decode("line", not_empty(bytes)?)?),
                ASSETS => part.assets.push(decode("asset", not_empty(bytes)?)?),
                HEADER if part.header.is_none() => part.header = Some(decode("header", bytes)?),
                SUMMARY if part.summary.is_none() => part.summary = Some(decode("summary", bytes)?),
                HEADER | SUMMARY => return Err(ClientError::wrong("a message has two headers or summaries")),
                _ => {}
            }
        }
        if fields.rest.is_empty() { Ok(part) } else { Err(ClientError::Malformed("message".to_owned())) }
    }
}

/// Lines and assets name a tenant, at least.
fn not_empty(element: &[u8]) -> Result<&[u8], ClientError> {
    const MIN_BYTES: usize = 36;
    if element.len() >= MIN_BYTES { Ok(element) } else { Err(ClientError::wrong("it has an empty line or asset")) }
}

fn decode<M: Message + Default>(what: &str, bytes: &[u8]) -> Result<M, ClientError> {
    M::decode(bytes).map_err(|error| ClientError::malformed(what, error.to_string()))
}
