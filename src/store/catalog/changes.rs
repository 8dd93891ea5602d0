//! What applying a catalog did, or why it did nothing.

use crate::{catalog::InvalidCatalog, model::UtcTime, store::StoreError};

/// How many entries of a kind were created, changed, or were so already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub created: usize,
    pub updated: usize,
    /// As declared already.
    pub unchanged: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogChanges {
    pub organizations: Changes,
    pub tenants: Changes,
    pub meters: Changes,
    pub prices: Changes,
    /// When prices, or what is charged, were published; `None`: none of it has changed.
    pub published_at: Option<UtcTime>,
}

/// A catalog was not applied.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It does not fit what is there.
    #[error(transparent)]
    Invalid(#[from] InvalidCatalog),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for CatalogError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}
