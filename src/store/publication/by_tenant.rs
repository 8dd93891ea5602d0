//! Statements about the assets of several tenants. Where records lie apart, a statement is of one tenant, by which its machine is found.

use tokio_postgres::types::ToSql;

use crate::store::{Layout, TenantKey};

/// How a statement names the tenants that its first parameter has.
pub(super) struct TenantTerms {
    /// Their array, where it is one, among others that are unnested with it.
    pub(super) array: &'static str,
    /// The column that it makes.
    pub(super) column: &'static str,
    /// The tenant of a row, which is `wanted`.
    pub(super) of_row: &'static str,
}

impl TenantTerms {
    pub(super) fn of(layout: Layout) -> Self {
        match layout {
            Layout::Apart => Self { array: "", column: "", of_row: "$1::bigint" },
            Layout::Together | Layout::Spreadable => {
                Self { array: "$1::bigint[], ", column: "tenant_key, ", of_row: "wanted.tenant_key" }
            }
        }
    }

    /// What the first parameter is.
    pub(super) fn bind(&self, tenants: Vec<i64>) -> Box<dyn ToSql + Sync + Send> {
        match tenants.first() {
            Some(&one) if self.array.is_empty() => Box::new(one),
            _ => Box::new(tenants),
        }
    }
}

/// The parts that a statement each is for, of what is ordered by tenant.
pub(super) fn parts<T>(layout: Layout, all: &[T], tenant: impl Fn(&T) -> TenantKey) -> impl Iterator<Item = &[T]> {
    all.chunk_by(move |a, b| layout != Layout::Apart || tenant(a) == tenant(b))
}
