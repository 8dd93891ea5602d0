//! The loads of a tenant's month: when each day came, and what became of it.

use chrono::NaiveDate;

use super::{
    InvalidField, PageSize, ReportError, manifest,
    token::{self, InvalidToken, Kind, short_digest, take},
};
use crate::{
    auth::TenantScope,
    model::{Month, Source, TenantId, UtcTime},
    store::{LoadPosition, LoadRecord, Store},
};

#[derive(Clone, Debug)]
pub struct LoadsRequest {
    pub tenant_id: TenantId,
    pub month: Month,
    /// The loads as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    pub page_size: PageSize,
    /// From the previous page; empty: the first page.
    pub page_token: String,
}

#[derive(Clone, Debug)]
pub struct Loads {
    /// By day, source and time of publication.
    pub loads: Vec<LoadRecord>,
    /// Empty on the last page.
    pub next_page_token: String,
}

/// Lists the loads of a tenant's month. All pages show one state.
pub async fn list_loads(store: &Store, scope: &TenantScope, request: &LoadsRequest) -> Result<Loads, ReportError> {
    let LoadsRequest { tenant_id, month, as_of, .. } = request;
    let as_of_text = as_of.map(|time| time.to_string()).unwrap_or_default();
    let query = short_digest(format!("{tenant_id} {month} {as_of_text}").as_bytes());
    let after = open(&request.page_token, query)?;
    let snapshot = async {
        match &after {
            Some((snapshot, _)) => manifest::snapshot_of_token(store, *snapshot, "page_token").await,
            None => manifest::snapshot(store, *as_of).await,
        }
    };
    let (tenant, snapshot) = tokio::join!(store.find_tenant(scope, *tenant_id), snapshot);
    let tenant = tenant?.visible().map_err(ReportError::TenantNotFound)?;
    let snapshot = snapshot?;
    let size = request.page_size.get();
    let after = after.map(|(_, position)| position);
    let mut loads = store.load_history(&tenant, *month, snapshot, after.as_ref(), size + 1).await?;
    // One more than requested shows whether there is a next page.
    let has_more = loads.len() > usize::from(size);
    loads.truncate(size.into());
    let last = loads.last().filter(|_| has_more);
    let next_page_token = last.map_or_else(String::new, |last| seal(query, snapshot.time(), &last.position()));
    Ok(Loads { loads, next_page_token })
}

fn seal(query: [u8; 8], snapshot: UtcTime, last: &LoadPosition) -> String {
    let mut payload = query.to_vec();
    payload.extend_from_slice(&snapshot.unix_micros().to_be_bytes());
    payload.extend_from_slice(&UtcTime::midnight(last.usage_day).unix_micros().to_be_bytes());
    payload.extend_from_slice(&last.published_at.unix_micros().to_be_bytes());
    payload.extend_from_slice(last.source.as_bytes());
    token::seal(Kind::Loads, &payload)
}

/// The snapshot of a token and the position after which it goes on.
fn open(page_token: &str, query: [u8; 8]) -> Result<Option<(UtcTime, LoadPosition)>, InvalidField> {
    if page_token.is_empty() {
        return Ok(None);
    }
    let invalid = |reason: &dyn std::fmt::Display| InvalidField::new("page_token", reason);
    let payload = token::open(Kind::Loads, page_token).map_err(|error| invalid(&error))?;
    let parse = |mut payload: &[u8]| {
        let found: [u8; 8] = take(&mut payload)?;
        let mut time = || {
            let micros = i64::from_be_bytes(take(&mut payload)?);
            UtcTime::from_unix_micros(micros).ok_or(InvalidToken::Damaged)
        };
        let (snapshot, day, published_at) = (time()?, time()?, time()?);
        let usage_day: NaiveDate = day.day();
        let source = std::str::from_utf8(payload).ok().and_then(|source| source.parse::<Source>().ok());
        let source = source.ok_or(InvalidToken::Damaged)?.as_str().to_owned();
        Ok((found, snapshot, LoadPosition { usage_day, source, published_at }))
    };
    let (found, snapshot, position) = parse(&payload).map_err(|error: InvalidToken| invalid(&error))?;
    if found != query {
        return Err(invalid(&"a token of another request; repeat the request of the previous page"));
    }
    Ok(Some((snapshot, position)))
}
