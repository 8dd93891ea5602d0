//! Reads all pages of a bill, one after the other, at one moment.

use std::sync::Arc;

use super::{CostTotals, Costs, CostsRequest, get_costs};
use crate::{
    auth::TenantScope,
    model::UtcTime,
    reports::{ReportError, current_moment},
    store::Store,
};

/// The pages of a bill.
pub struct CostPages {
    store: Store,
    totals: Arc<CostTotals>,
    scope: TenantScope,
    as_of: UtcTime,
    /// `None`: there are no more.
    next: Option<CostsRequest>,
}

// === impl CostPages ===

impl CostPages {
    /// `request`: for the first page; where it names no moment, that is now.
    ///
    /// # Errors
    ///
    /// The moment of now is not known.
    pub async fn new(
        store: Store,
        totals: Arc<CostTotals>,
        scope: TenantScope,
        request: CostsRequest,
    ) -> Result<Self, ReportError> {
        let as_of = match request.as_of {
            Some(moment) => moment,
            None => current_moment(&store).await?,
        };
        let next = Some(CostsRequest { as_of: Some(as_of), ..request });
        Ok(Self { store, totals, scope, as_of, next })
    }

    /// The moment that all pages are of.
    pub fn as_of(&self) -> UtcTime {
        self.as_of
    }

    /// The next page; `None`: there are no more.
    ///
    /// # Errors
    ///
    /// Those of [`get_costs`].
    pub async fn next(&mut self) -> Result<Option<Costs>, ReportError> {
        let Some(mut request) = self.next.take() else { return Ok(None) };
        let page = get_costs(&self.store, &self.totals, &self.scope, &request).await?;
        if !page.next_page_token.is_empty() {
            page.next_page_token.clone_into(&mut request.page_token);
            self.next = Some(request);
        }
        Ok(Some(page))
    }
}
