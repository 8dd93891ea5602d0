//! `ListLoads`.

use tonic::{Request, Status};

use super::parse::{missing, moment, month, page_size, required, token};
use crate::{
    contract::proto,
    model::hex,
    reports::{InvalidField, LoadsRequest, list_loads},
    service::layers::Caller,
    store::{LoadRecord, Store},
};

/// The default, and the largest.
const PAGE_SIZES: (u16, u16) = (100, 1000);

pub(super) async fn handle(
    store: &Store,
    request: Request<proto::ListLoadsRequest>,
) -> Result<proto::ListLoadsResponse, Status> {
    let caller = Caller::of(&request)?;
    let request = LoadsRequest::try_from(request.into_inner())?;
    caller.notes.tenant(request.tenant_id);
    caller.notes.months(request.month, request.month);
    let page = caller.answer(list_loads(store, &caller.scope, &request).await)?;
    caller.notes.add_rows(page.loads.len());
    Ok(proto::ListLoadsResponse {
        loads: page.loads.into_iter().map(Into::into).collect(),
        next_page_token: page.next_page_token,
    })
}

impl TryFrom<proto::ListLoadsRequest> for LoadsRequest {
    type Error = InvalidField;

    fn try_from(request: proto::ListLoadsRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            tenant_id: required("tenant_id", &request.tenant_id)?,
            month: month("month", request.month)?.ok_or_else(|| missing("month"))?,
            as_of: moment("as_of", request.as_of)?,
            page_size: page_size(request.page_size, PAGE_SIZES)?,
            page_token: token("page_token", request.page_token)?,
        })
    }
}

impl From<LoadRecord> for proto::Load {
    fn from(load: LoadRecord) -> Self {
        let state = match (load.superseded_at, load.record_count) {
            (Some(_), _) => proto::LoadState::Superseded,
            (None, 0) => proto::LoadState::Withdrawn,
            (None, _) => proto::LoadState::InForce,
        };
        let (before, superseded_record_count) = load.superseded.unzip();
        Self {
            usage_day: load.usage_day.to_string(),
            source: load.source,
            state: state.into(),
            published_at: Some(load.published_at.into()),
            imported_by: load.imported_by,
            file_name: load.file_name,
            record_count: load.record_count.into(),
            digest: hex(&load.digest),
            superseded_at: load.superseded_at.map(Into::into),
            superseded_load_published_at: before.map(Into::into),
            superseded_record_count: superseded_record_count.unwrap_or(0).into(),
            purged: load.is_purged,
        }
    }
}
