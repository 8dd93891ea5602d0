//! Where lines of logs go: standard error, or a file.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::lines::Sink;

/// How long to wait before a line is written again to a file that did not take it.
const RETRY: Duration = Duration::from_secs(1);

/// Standard error, without its lock: whoever holds that for a reader who does not read holds up all that would write.
pub(super) struct StandardError(File);

/// A file that takes every line in the end: where the disk is full, its lines wait.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    is_failing: bool,
}

// === impl StandardError ===

impl StandardError {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(io::stderr().as_fd().try_clone_to_owned()?.into()))
    }
}

impl Sink for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.0.write_all(line)
    }
}

// === impl LogFile ===

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append(path)?, is_failing: false })
    }

    /// Opens the file anew where another one has its name, or none: it was rotated.
    fn follow(&mut self) -> io::Result<bool> {
        let opened = self.file.metadata()?;
        let is_same =
            std::fs::metadata(&self.path).is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino()));
        if !is_same {
            self.file = append(&self.path)?;
        }
        Ok(!is_same)
    }

    /// Writes the rest of a line. A new file gets it from its beginning.
    fn try_write(&mut self, line: &[u8], written: &mut usize) -> io::Result<()> {
        if self.follow()? {
            *written = 0;
        }
        while *written < line.len() {
            match self.file.write(&line[*written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => *written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Sink for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while let Err(error) = self.try_write(line, &mut written) {
            if !self.is_failing {
                tracing::error!(path = %self.path.display(), %error, "cannot write to the audit log; its lines wait");
                self.is_failing = true;
            }
            std::thread::sleep(RETRY);
        }
        if self.is_failing {
            tracing::info!(path = %self.path.display(), "the audit log is written again");
            self.is_failing = false;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_rotated_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
        let mut file = LogFile::open(&path).unwrap();
        file.write(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        file.write(b"two\n").unwrap();
        drop(LogFile::open(&path).unwrap());
        file.write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\nthree\n");
    }
}
