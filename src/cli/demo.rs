//! demo
use super::{CommandError, args::DemoArgs};
pub(super) async fn run(_args: DemoArgs) -> Result<(), CommandError> {
    Err("todo".into())
}
