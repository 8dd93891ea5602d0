//! `ListStatementKeys`.

use tonic::{Request, Status};

use crate::{contract::proto, service::layers::Caller, store::Store};

pub(super) async fn handle(
    store: &Store,
    request: Request<proto::ListStatementKeysRequest>,
) -> Result<proto::ListStatementKeysResponse, Status> {
    // Public keys are for everyone who may see statements.
    Caller::of(&request)?;
    let keys = store.statement_keys().await?.into_iter().map(|key| proto::StatementKey {
        key_id: key.id,
        public_key: key.public.0.to_vec(),
        first_used_at: Some(key.first_used_at.into()),
    });
    Ok(proto::ListStatementKeysResponse { keys: keys.collect() })
}
