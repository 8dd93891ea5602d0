//! Temporary files without names, so that not even a kill leaves one behind.

use std::{
    fs::File,
    io::{self, Write as _},
};

/// A new file. The error names the directory.
pub(super) fn file() -> io::Result<File> {
    tempfile::tempfile().map_err(|error| named(&error))
}

/// Finds out whether imports can write temporary files.
///
/// # Errors
///
/// The directory is not there, is full, or may not be written. The error names it.
pub fn check_temporary_directory() -> io::Result<()> {
    file()?.write_all(&[0; 4096]).map_err(|error| named(&error))
}

pub(super) fn named(error: &io::Error) -> io::Error {
    let directory = std::env::temp_dir();
    io::Error::new(error.kind(), format!("the temporary directory {} (TMPDIR): {error}", directory.display()))
}
