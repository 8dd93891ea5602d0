//! The files under `examples/`, so that the demo needs nothing but the program.

use std::path::Path;

use crate::cli::CommandError;

/// The usage files of three days.
pub(super) const USAGE_DAYS: [&str; 3] = ["usage/2022-02-01.csv", "usage/2022-02-02.csv", "usage/2022-02-03.csv"];
/// A correction of one of them.
pub(super) const CORRECTION: &str = "usage/corrections/2022-02-02-contoso-hq.csv";

/// A day that comes when its month is closed.
pub(super) const LATE_DAY: &str = "usage/late/2022-02-04-contoso-hq.csv";

const FILES: [(&str, &str); 6] = [
    ("catalog.toml", include_str!("../../../examples/catalog.toml")),
    (USAGE_DAYS[0], include_str!("../../../examples/usage/2022-02-01.csv")),
    (USAGE_DAYS[1], include_str!("../../../examples/usage/2022-02-02.csv")),
    (USAGE_DAYS[2], include_str!("../../../examples/usage/2022-02-03.csv")),
    (LATE_DAY, include_str!("../../../examples/usage/late/2022-02-04-contoso-hq.csv")),
    (CORRECTION, include_str!("../../../examples/usage/corrections/2022-02-02-contoso-hq.csv")),
];

pub(super) fn write(folder: &Path) -> Result<(), CommandError> {
    for (name, content) in FILES {
        let path = folder.join(name);
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
            std::fs::write(&path, content)
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
