//! Closed months: statements, adjustments, and what never changes.

mod adjustments;
pub(crate) mod books;
mod closing;
mod detail;
mod history;
mod service;
mod torture;
mod verify;
