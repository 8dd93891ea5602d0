//! `ListStatements`.

use tonic::{Request, Status};

use super::{
    get_statement::statement,
    parse::{page_size, required, token},
};
use crate::{
    contract::proto,
    reports::{InvalidField, StatementsRequest, list_statements},
    service::layers::Caller,
    store::Store,
};

/// The default, and the largest.
const PAGE_SIZES: (u16, u16) = (100, 1000);

pub(super) async fn handle(
    store: &Store,
    request: Request<proto::ListStatementsRequest>,
) -> Result<proto::ListStatementsResponse, Status> {
    let caller = Caller::of(&request)?;
    let request = StatementsRequest::try_from(request.into_inner())?;
    caller.notes.organization(request.organization_id);
    let page = caller.answer(list_statements(store, &caller.scope, &request).await)?;
    caller.notes.add_rows(page.statements.len());
    Ok(proto::ListStatementsResponse {
        statements: page.statements.iter().map(statement).collect::<Result<_, _>>()?,
        next_page_token: page.next_page_token,
    })
}

impl TryFrom<proto::ListStatementsRequest> for StatementsRequest {
    type Error = InvalidField;

    fn try_from(request: proto::ListStatementsRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            organization_id: required("organization_id", &request.organization_id)?,
            page_size: page_size(request.page_size, PAGE_SIZES)?,
            page_token: token("page_token", request.page_token)?,
        })
    }
}
