//! The command line of secure-connect-reports.

use std::process::ExitCode;

fn main() -> ExitCode {
    secure_connect_reports::cli::run()
}
