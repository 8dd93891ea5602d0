//! `BillingService`: statements, and the keys that signed them.

use bytes::Bytes;
use tonic::{Status, Streaming};

use super::{
    Client, ClientError, RawCodec,
    costs::{ADJUSTMENT_TIERS, LINE_TIERS, REPORT_DAYS},
    pages::{Retained, has_contents, read_page},
    retry,
};
use crate::{
    contract::{
        Fields, WireValue,
        proto::{self, CostAdjustment, CostLine, ReportLoads, Statement, TenantMonth},
    },
    model::{Month, OrganizationId},
};

const PAGE_SIZE: usize = 1000;
const LIST_STATEMENTS: &str = "BillingService/ListStatements";
const GET_STATEMENT: &str = "BillingService/GetStatement";
const LIST_KEYS: &str = "BillingService/ListStatementKeys";
/// Keys are few: one a rotation.
const MAX_KEYS: usize = 10_000;
/// In one message; servers send some hundred.
const MAX_ENTRIES: usize = 5000;
// Numbers of the fields of `GetStatementResponse`.
const LINES: u32 = 2;
const ADJUSTMENTS: u32 = 3;
const REPORTS: u32 = 4;
const LOADS: u32 = 5;
/// `ReportLoads.loads`.
const LOADS_OF_REPORT: &[u32] = &[3];

/// A whole statement.
#[derive(Clone, Debug, Default)]
pub struct WholeStatement {
    pub statement: Statement,
    pub lines: Vec<CostLine>,
    pub adjustments: Vec<CostAdjustment>,
    pub reports: Vec<TenantMonth>,
    /// What the reports were made of.
    pub loads: Vec<ReportLoads>,
}

// === impl Client ===

impl Client {
    /// Lists the statements of an organization, the newest first. Reads all pages.
    pub async fn statements(&mut self, organization: OrganizationId) -> Result<Vec<Statement>, ClientError> {
        let mut request = proto::ListStatementsRequest {
            organization_id: organization.to_string(),
            page_size: i32::try_from(PAGE_SIZE).unwrap_or_default(),
            page_token: String::new(),
        };
        let mut statements: Vec<Statement> = Vec::new();
        let mut retained = Retained::default();
        loop {
            let bytes = self.unary(LIST_STATEMENTS, &request).await?;
            retained.add(bytes.len())?;
            let page: proto::ListStatementsResponse = read_page(&bytes, 1, PAGE_SIZE)?;
            for statement in page.statements {
                check_organization(&statement, organization)?;
                if statements.last().is_some_and(|last| month(last) <= month(&statement)) {
                    return Err(ClientError::wrong("its statements are not in order, or come twice"));
                }
                statements.push(statement);
            }
            if page.next_page_token.is_empty() {
                return Ok(statements);
            }
            if request.page_token == page.next_page_token {
                return Err(ClientError::wrong("a page leads to itself"));
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Gets the statement of an organization's month, whole.
    pub async fn statement(
        &mut self,
        organization: OrganizationId,
        billing_month: Month,
    ) -> Result<WholeStatement, ClientError> {
        let request = proto::GetStatementRequest {
            organization_id: organization.to_string(),
            billing_month: Some(billing_month.into()),
        };
        // All of it is read in one attempt: a statement never changes, and is seldom large.
        let attempt = || async {
            let (mut raw, path) = self.raw(GET_STATEMENT).await?;
            let request = tonic::Request::new(request.clone());
            read_whole(raw.server_streaming(request, path, RawCodec::default()).await?.into_inner()).await
        };
        let whole = retry::call(&self.server, GET_STATEMENT, self.retry_for, attempt).await??;
        whole.check(organization, billing_month)?;
        Ok(whole)
    }

    /// Lists the keys that statements were ever signed with, the newest first.
    pub async fn statement_keys(&mut self) -> Result<Vec<proto::StatementKey>, ClientError> {
        let bytes = self.unary(LIST_KEYS, &proto::ListStatementKeysRequest {}).await?;
        let answer: proto::ListStatementKeysResponse = read_page(&bytes, 1, MAX_KEYS)?;
        Ok(answer.keys)
    }
}

/// Reads a stream to its end. A status says that it was cut off.
async fn read_whole(mut stream: Streaming<Bytes>) -> Result<Result<WholeStatement, ClientError>, Status> {
    let mut whole = WholeStatement::default();
    let mut retained = Retained::default();
    let mut is_first = true;
    while let Some(message) = stream.message().await? {
        if let Err(error) = retained.add(message.len()).and_then(|()| whole.add(&message, is_first)) {
            return Ok(Err(error));
        }
        is_first = false;
    }
    Ok(Ok(whole))
}

/// Decodes a part, whose elements must not take much more room than on the wire.
fn read_part(part: &[u8]) -> Result<proto::GetStatementResponse, ClientError> {
    let mut fields = Fields::new(part);
    while let Some((number, value)) = fields.next() {
        let WireValue::Bytes(entry) = value else { continue };
        let is_sound = match number {
            LINES => has_contents(entry, LINE_TIERS),
            ADJUSTMENTS => has_contents(entry, ADJUSTMENT_TIERS),
            REPORTS => has_contents(entry, REPORT_DAYS),
            LOADS => has_contents(entry, LOADS_OF_REPORT),
            _ => true,
        };
        if !is_sound {
            return Err(ClientError::wrong("an entry of a statement has an empty element"));
        }
    }
    read_page(part, LOADS, MAX_ENTRIES)
}

// === impl WholeStatement ===

impl WholeStatement {
    fn add(&mut self, message: &Bytes, is_first: bool) -> Result<(), ClientError> {
        let part: proto::GetStatementResponse = read_part(message)?;
        if part.statement.is_some() != is_first {
            return Err(ClientError::wrong("its head is not in its first message"));
        }
        part.statement.into_iter().for_each(|statement| self.statement = statement);
        self.lines.extend(part.lines);
        self.adjustments.extend(part.adjustments);
        self.reports.extend(part.tenant_months);
        self.loads.extend(part.report_loads);
        Ok(())
    }

    /// A stream that was cut off without an error has less than its head says.
    fn check(&self, organization: OrganizationId, billing_month: Month) -> Result<(), ClientError> {
        let statement = &self.statement;
        check_organization(statement, organization)?;
        if statement.billing_month != Some(billing_month.into()) {
            return Err(ClientError::wrong("it is of another month"));
        }
        for (list, expected, received) in [
            ("lines", statement.line_count, self.lines.len()),
            ("adjustments", statement.adjustment_count, self.adjustments.len()),
            ("reports", statement.report_count, self.reports.len()),
        ] {
            if usize::try_from(expected) != Ok(received) {
                return Err(ClientError::wrong(format!("it has {received} {list} of {expected}")));
            }
        }
        Ok(())
    }
}

fn check_organization(statement: &Statement, organization: OrganizationId) -> Result<(), ClientError> {
    if statement.organization_id == organization.to_string() {
        return Ok(());
    }
    Err(ClientError::wrong(format!("a statement is of organization {:?}", statement.organization_id)))
}

fn month(statement: &Statement) -> (i32, i32) {
    statement.billing_month.map(|month| (month.year, month.month)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn part(part: &proto::GetStatementResponse) -> Result<proto::GetStatementResponse, ClientError> {
        read_part(&part.encode_to_vec())
    }

    #[test]
    fn elements_have_contents_and_are_not_too_many() {
        let line =
            |tiers: Vec<proto::CostTier>| CostLine { tenant_name: "contoso".to_owned(), tiers, ..CostLine::default() };
        let tier =
            proto::CostTier { quantity: "1.5".to_owned(), unit_price: "2".to_owned(), ..proto::CostTier::default() };
        let sound = proto::GetStatementResponse {
            lines: vec![line(vec![tier])],
            adjustments: vec![CostAdjustment { line: Some(line(Vec::new())), ..CostAdjustment::default() }],
            ..proto::GetStatementResponse::default()
        };
        assert_eq!(part(&sound).ok(), Some(sound.clone()));
        let empty = || line(vec![proto::CostTier::default()]);
        let missing = proto::MissingDays { source: "default".to_owned(), days: vec![String::new()] };
        let loads = ReportLoads { loads: vec![proto::ReportLoad::default()], ..ReportLoads::default() };
        let none = proto::GetStatementResponse::default;
        for unsound in [
            proto::GetStatementResponse { lines: vec![empty()], ..none() },
            proto::GetStatementResponse {
                adjustments: vec![CostAdjustment { line: Some(empty()), ..CostAdjustment::default() }],
                ..none()
            },
            proto::GetStatementResponse {
                tenant_months: vec![TenantMonth { missing_days: vec![missing], ..TenantMonth::default() }],
                ..none()
            },
            proto::GetStatementResponse { report_loads: vec![loads], ..none() },
            proto::GetStatementResponse { lines: vec![CostLine::default(); MAX_ENTRIES + 1], ..none() },
        ] {
            assert!(part(&unsound).is_err(), "{unsound:?}");
        }
    }
}
