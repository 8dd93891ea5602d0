//! Tokens for pages of costs: the query, the snapshot, and how many lines came before.

use super::{CostLine, CostsRequest};
use crate::{
    model::UtcTime,
    reports::{
        InvalidField,
        token::{self, InvalidToken, Kind, short_digest, take},
    },
    store::SnapshotTime,
};

#[derive(Clone, Copy, Debug)]
pub(super) struct PageToken {
    query: [u8; 8],
    snapshot: UtcTime,
    /// Which lines there are, in which order: names may change between two pages, and the snapshot does not fix them.
    order: [u8; 8],
    offset: u32,
}

impl PageToken {
    pub(super) fn new(query: [u8; 8], snapshot: SnapshotTime, order: [u8; 8], offset: usize) -> Self {
        Self { query, snapshot: snapshot.time(), order, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }

    /// A digest that identifies the query.
    pub(super) fn query(request: &CostsRequest) -> [u8; 8] {
        let CostsRequest { organization_id, tenant_id, months, as_of, .. } = request;
        let tenant_id = tenant_id.map(|id| id.to_string()).unwrap_or_default();
        let as_of = as_of.map(|time| time.to_string()).unwrap_or_default();
        let (start, end) = (months.start(), months.end());
        short_digest(format!("{organization_id} {tenant_id} {start} {end} {as_of}").as_bytes())
    }

    pub(super) fn seal(&self) -> String {
        let mut payload = Vec::with_capacity(28);
        payload.extend_from_slice(&self.query);
        payload.extend_from_slice(&self.snapshot.unix_micros().to_be_bytes());
        payload.extend_from_slice(&self.order);
        payload.extend_from_slice(&self.offset.to_be_bytes());
        token::seal(Kind::Costs, &payload)
    }

    /// Parses the token of a request; `None` if it is empty.
    pub(super) fn open(token: &str, query: [u8; 8]) -> Result<Option<Self>, InvalidField> {
        if token.is_empty() {
            return Ok(None);
        }
        let token = Self::parse(token).map_err(|error| InvalidField::new("page_token", error))?;
        if token.query != query {
            let reason = "a token of another request; repeat the request of the previous page";
            return Err(InvalidField::new("page_token", reason));
        }
        Ok(Some(token))
    }

    fn parse(token: &str) -> Result<Self, InvalidToken> {
        let payload = token::open(Kind::Costs, token)?;
        let payload = &mut payload.as_slice();
        Ok(Self {
            query: take(payload)?,
            snapshot: UtcTime::from_unix_micros(i64::from_be_bytes(take(payload)?)).ok_or(InvalidToken::Damaged)?,
            order: take(payload)?,
            offset: u32::from_be_bytes(take(payload)?),
        })
    }

    pub(super) fn snapshot(&self) -> UtcTime {
        self.snapshot
    }

    /// How many lines came before; `None` if the lines have changed.
    pub(super) fn offset(&self, order: [u8; 8]) -> Option<usize> {
        if self.order == order { usize::try_from(self.offset).ok() } else { None }
    }
}

/// A digest that identifies the list of lines.
pub(super) fn order_digest(lines: &[CostLine]) -> [u8; 8] {
    let mut content = String::new();
    for line in lines {
        let CostLine { month, tenant_id, meter, billing_region, .. } = line;
        content.push_str(&format!("{month} {tenant_id} {} {billing_region}\n", meter.name));
    }
    short_digest(content.as_bytes())
}
