//! Finds PostgreSQL's server binaries.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::ServerError;

/// The oldest version that the service supports.
const OLDEST_MAJOR: u32 = 14;

#[derive(Clone, Debug)]
pub(super) struct Binaries {
    folder: PathBuf,
}

// === impl Binaries ===

impl Binaries {
    /// The first folder with usable binaries: in PATH, of `pg_config`, of the distributions (newest version first).
    pub(super) fn find() -> Result<Self, ServerError> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(pg_config())
            .chain(distribution_folders())
            .map(|folder| Self { folder })
            .find(Self::are_usable)
            .ok_or(ServerError::NotInstalled)
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        let program = self.folder.join(name);
        if program.is_file() {
            return program;
        }
        // The folder may have links to some programs only. The others are where the links point.
        let real = self.folder.join("pg_ctl").canonicalize().ok();
        real.and_then(|pg_ctl| pg_ctl.parent().map(|folder| folder.join(name))).unwrap_or(program)
    }

    fn are_usable(&self) -> bool {
        let complete = ["pg_ctl", "initdb", "postgres"].iter().all(|name| self.program(name).is_file());
        complete && major_version(&self.program("postgres")).is_some_and(|major| major >= OLDEST_MAJOR)
    }
}

fn output(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
fn major_version(postgres: &Path) -> Option<u32> {
    let text = output(postgres, "--version")?;
    let version = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let digits = version.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn pg_config() -> Option<PathBuf> {
    output(Path::new("pg_config"), "--bindir").map(PathBuf::from)
}

fn distribution_folders() -> Vec<PathBuf> {
    // Debian and Ubuntu; Red Hat's and the project's own packages; Homebrew on both kinds of Mac; from source.
    let mut folders = Vec::new();
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ] {
        let Ok(entries) = Path::new(parent).read_dir() else { continue };
        let version = |entry: std::fs::DirEntry| -> Option<(u32, PathBuf)> {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_prefix(prefix)?.parse().ok()?, entry.path().join("bin")))
        };
        let mut found: Vec<_> = entries.flatten().filter_map(version).collect();
        found.sort_by_key(|&(version, _)| std::cmp::Reverse(version));
        folders.extend(found.into_iter().map(|(_, folder)| folder));
    }
    folders.push(PathBuf::from("/usr/local/pgsql/bin"));
    folders
}
