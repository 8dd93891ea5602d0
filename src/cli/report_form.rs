//! The forms that reports are written in: what their files are called, and how they are compressed.

use std::path::Path;

use clap::ValueEnum;

/// What a report is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// Comma-separated values with a header line.
    #[default]
    Csv,
    /// Apache Parquet, for data tools.
    Parquet,
    /// Apache Arrow, as a stream of batches.
    Arrow,
    /// A JSON object a line.
    Jsonl,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReportForm {
    pub(super) format: FileFormat,
    pub(super) compression: Compression,
}

/// The ends of file names, the first one for files that nobody named.
const ENDINGS: [(FileFormat, &[&str]); 4] = [
    (FileFormat::Csv, &["csv"]),
    (FileFormat::Parquet, &["parquet"]),
    (FileFormat::Arrow, &["arrows", "arrow"]),
    (FileFormat::Jsonl, &["jsonl", "ndjson"]),
];

// === impl FileFormat ===

impl FileFormat {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The end of a file's name.
    pub(super) fn ending(self) -> &'static str {
        ENDINGS.iter().find(|(format, _)| *format == self).map_or("", |(_, endings)| endings[0])
    }

    /// Refuses to write to a terminal what is not text.
    pub(super) fn check_output(self, is_terminal: bool) -> Result<(), String> {
        if !is_terminal || matches!(self, Self::Csv | Self::Jsonl) {
            return Ok(());
        }
        let (name, ending) = (self.name(), self.ending());
        Err(format!("--format {name} is not for a terminal: write it to a file, with `> FILE.{ending}`"))
    }

    fn of_ending(ending: &str) -> Option<Self> {
        let is = |known: &&str| known.eq_ignore_ascii_case(ending);
        ENDINGS.iter().find(|(_, endings)| endings.iter().any(is)).map(|(format, _)| *format)
    }
}

// === impl ReportForm ===

impl ReportForm {
    /// That of a file: its name says what was not asked for.
    pub(super) fn of(asked: Option<FileFormat>, output: Option<&Path>) -> Result<Self, String> {
        let name = output.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        let (name, compression) = match name.rsplit_once('.') {
            Some((name, ending)) if ending.eq_ignore_ascii_case("gz") => (name, Compression::Gzip),
            Some((name, ending)) if ending.eq_ignore_ascii_case("zst") => (name, Compression::Zstd),
            _ => (name, Compression::None),
        };
        let of_name = name.rsplit_once('.').and_then(|(_, ending)| FileFormat::of_ending(ending));
        let format = asked.or(of_name).unwrap_or_default();
        if compression != Compression::None && matches!(format, FileFormat::Parquet | FileFormat::Arrow) {
            return Err(format!(
                "--format {0} cannot be compressed as a whole: name the file .{1}",
                format.name(),
                format.ending()
            ));
        }
        Ok(Self { format, compression })
    }

    /// Whether what is there of a file is good for going on with it.
    pub(super) fn is_resumable(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_was_not_asked_for() {
        let form = |asked, name: &str| {
            let form = ReportForm::of(asked, Some(Path::new(name)))?;
            Ok::<_, String>((form.format, form.compression))
        };
        assert_eq!(ReportForm::of(None, None), Ok(ReportForm::default()));
        for (name, expected) in [
            ("a/b.csv", (FileFormat::Csv, Compression::None)),
            ("b", (FileFormat::Csv, Compression::None)),
            ("-", (FileFormat::Csv, Compression::None)),
            ("b.txt", (FileFormat::Csv, Compression::None)),
            ("b.csv.gz", (FileFormat::Csv, Compression::Gzip)),
            ("b.GZ", (FileFormat::Csv, Compression::Gzip)),
            ("b.jsonl.zst", (FileFormat::Jsonl, Compression::Zstd)),
            ("b.ndjson", (FileFormat::Jsonl, Compression::None)),
            ("b.2022.Parquet", (FileFormat::Parquet, Compression::None)),
            ("b.arrows", (FileFormat::Arrow, Compression::None)),
        ] {
            assert_eq!(form(None, name), Ok(expected), "{name}");
        }
        assert_eq!(form(Some(FileFormat::Jsonl), "b.csv"), Ok((FileFormat::Jsonl, Compression::None)));
        assert!(form(None, "b.parquet.gz").is_err_and(|error| error.ends_with("name the file .parquet")));
        assert!(form(Some(FileFormat::Arrow), "b.zst").is_err());
        for (format, _) in ENDINGS {
            assert_eq!(FileFormat::of_ending(format.ending()), Some(format));
        }
    }
}
