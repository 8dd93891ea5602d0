//! `ListLoads`: where a month of a tenant came from.

use super::{
    Client, ClientError,
    pages::{Retained, read_page},
    report_check::{check_as_of, moment},
};
use crate::{
    contract::proto::{self, Load},
    model::{Month, TenantId, UtcTime},
};

const PAGE_SIZE: usize = 1000;

// === impl Client ===

impl Client {
    /// Lists what sources have delivered of a tenant's month, by day, source and time. Reads all pages.
    pub async fn loads(
        &mut self,
        tenant_id: TenantId,
        month: Month,
        as_of: Option<UtcTime>,
    ) -> Result<Vec<Load>, ClientError> {
        let mut request = proto::ListLoadsRequest {
            tenant_id: tenant_id.to_string(),
            month: Some(month.into()),
            as_of: as_of.map(Into::into),
            page_size: i32::try_from(PAGE_SIZE).unwrap_or_default(),
            page_token: String::new(),
        };
        let mut loads: Vec<Load> = Vec::new();
        let mut retained = Retained::default();
        loop {
            let bytes = self.unary("ListLoads", &request).await?;
            retained.add(bytes.len())?;
            let page: proto::ListLoadsResponse = read_page(&bytes, 1, PAGE_SIZE)?;
            if page.loads.is_empty() && !page.next_page_token.is_empty() {
                return Err(ClientError::wrong("a page is empty, and not the last one"));
            }
            for load in page.loads {
                if !load.usage_day.starts_with(&format!("{month}-")) {
                    return Err(ClientError::wrong(format!("a load is of {:?}", load.usage_day)));
                }
                check_as_of(moment(load.published_at), as_of)?;
                if loads.last().is_some_and(|last| position(last) >= position(&load)) {
                    return Err(ClientError::wrong("its loads are not in order, or come twice"));
                }
                loads.push(load);
            }
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(loads);
            }
        }
    }
}

fn position(load: &Load) -> (&str, &str, Option<(i64, i32)>) {
    (&load.usage_day, &load.source, load.published_at.map(|time| (time.seconds, time.nanos)))
}
