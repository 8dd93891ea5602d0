//! Statements: bills that were closed, as they were.

use super::{
    CostAdjustment, CostLine, InvalidField, PageSize, ReportError, TenantMonth,
    document::{read_adjustment, read_line, read_report},
    token::{self, InvalidToken, Kind, short_digest, take},
};
use crate::{
    auth::TenantScope,
    model::{Month, OrganizationId, TenantId},
    store::{ReportLoads, Statement, StatementLines, Store, VisibleOrganization},
};

#[derive(Clone, Debug)]
pub struct StatementsRequest {
    pub organization_id: OrganizationId,
    pub page_size: PageSize,
    /// From the previous page; empty: the first page.
    pub page_token: String,
}

#[derive(Clone, Debug)]
pub struct Statements {
    /// The newest first.
    pub statements: Vec<Statement>,
    /// Empty on the last page.
    pub next_page_token: String,
}

/// Lists the statements of an organization.
pub async fn list_statements(
    store: &Store,
    scope: &TenantScope,
    request: &StatementsRequest,
) -> Result<Statements, ReportError> {
    let query = short_digest(request.organization_id.to_string().as_bytes());
    let before = before(&request.page_token, query)?;
    let organization = find(store, scope, request.organization_id).await?;
    let size = request.page_size.get();
    let mut statements = store.statements(&organization, before, size + 1).await?;
    // One more than requested shows whether there is a next page.
    let has_more = statements.len() > usize::from(size);
    statements.truncate(size.into());
    let last = statements.last().filter(|_| has_more);
    let next_page_token = last.map_or_else(String::new, |last| {
        let month = last.billing_month;
        let month = [month.year().to_be_bytes(), month.number().to_be_bytes()].concat();
        token::seal(Kind::Statements, &[query.as_slice(), &month].concat())
    });
    Ok(Statements { statements, next_page_token })
}

/// The month that a page begins before.
fn before(page_token: &str, query: [u8; 8]) -> Result<Option<Month>, InvalidField> {
    let invalid = |reason: &dyn std::fmt::Display| InvalidField::new("page_token", reason);
    if page_token.is_empty() {
        return Ok(None);
    }
    let payload = token::open(Kind::Statements, page_token).map_err(|error| invalid(&error))?;
    let parse = |mut payload: &[u8]| {
        let query: [u8; 8] = take(&mut payload)?;
        let (year, month) = (i32::from_be_bytes(take(&mut payload)?), i32::from_be_bytes(take(&mut payload)?));
        let month = Month::new(year, month).map_err(|_| InvalidToken::Damaged)?;
        if payload.is_empty() { Ok((query, month)) } else { Err(InvalidToken::Damaged) }
    };
    let (found, month) = parse(&payload).map_err(|error| invalid(&error))?;
    if found != query {
        return Err(invalid(&"a token of another organization; repeat the request of the previous page"));
    }
    Ok(Some(month))
}

async fn find(
    store: &Store,
    scope: &TenantScope,
    organization: OrganizationId,
) -> Result<VisibleOrganization, ReportError> {
    store.find_organization(scope, organization).await?.visible().map_err(ReportError::OrganizationNotFound)
}

/// A part of a statement.
#[derive(Clone, Debug)]
pub enum StatementPart {
    Lines(Vec<CostLine>),
    Adjustments(Vec<CostAdjustment>),
    Reports(Vec<TenantMonth>),
    Loads(Vec<ReportLoads>),
}

/// Reads a statement, part by part.
pub struct StatementReader {
    store: Store,
    statement: Statement,
    /// What comes next, after which number.
    next: Option<(List, i32)>,
    /// The last report whose loads were read.
    loads_after: Option<(Month, TenantId)>,
}

#[derive(Clone, Copy)]
enum List {
    Lines,
    Adjustments,
    Reports,
}

// === impl StatementReader ===

impl StatementReader {
    pub async fn open(
        store: Store,
        scope: &TenantScope,
        organization: OrganizationId,
        billing_month: Month,
    ) -> Result<Self, ReportError> {
        let organization = find(&store, scope, organization).await?;
        let statement = store.statement_of_month(&organization, billing_month).await?;
        let statement = statement.ok_or(ReportError::StatementNotFound)?;
        Ok(Self { store, statement, next: Some((List::Lines, 0)), loads_after: None })
    }

    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The next part, with at least one entry; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<StatementPart>, ReportError> {
        let Self { store, statement, next, loads_after } = self;
        let month = statement.billing_month;
        while let Some((list, after)) = *next {
            let lines = |adjustments| StatementLines { adjustments, tenant: None, after };
            let entries = match list {
                List::Lines => store.statement_lines(statement, lines(false)).await?,
                List::Adjustments => store.statement_lines(statement, lines(true)).await?,
                List::Reports => store.statement_reports(statement, after).await?,
            };
            let Some(&(last, _)) = entries.last() else {
                *next = match list {
                    List::Lines => Some((List::Adjustments, 0)),
                    List::Adjustments => Some((List::Reports, 0)),
                    List::Reports => None,
                };
                continue;
            };
            *next = Some((list, last));
            let contents = entries.iter().map(|(_, content)| content.as_str());
            return Ok(Some(match list {
                List::Lines => {
                    StatementPart::Lines(contents.map(|line| read_line(line, month)).collect::<Result<_, _>>()?)
                }
                List::Adjustments => {
                    let adjustments = contents.map(|adjustment| read_adjustment(adjustment, month));
                    StatementPart::Adjustments(adjustments.collect::<Result<_, _>>()?)
                }
                List::Reports => {
                    StatementPart::Reports(contents.map(|report| read_report(report, month)).collect::<Result<_, _>>()?)
                }
            }));
        }
        let loads = store.statement_loads(statement, *loads_after).await?;
        *loads_after = loads.last().map(|last| (last.month, last.tenant)).or(*loads_after);
        Ok((!loads.is_empty()).then_some(StatementPart::Loads(loads)))
    }
}
