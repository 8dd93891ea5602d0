//! What the commands take that ask for reports: of tenants, usage and costs.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, builder::FalseyValueParser};

use super::{Format, ReadArgs};
use crate::cli::report_form::{FileFormat, ReportForm};
use crate::{
    contract::{CsvFormat, LineEnd},
    model::{AssetType, BillingRegion, Month, StatementNumber, UsageFilter, UtcTime},
};

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct TenantsArgs {
    /// Only tenants whose name, id or organization name contains this text.
    #[arg(env = "SCR_SEARCH", default_value = "")]
    pub(in crate::cli) search: String,
    /// Only tenants of this organization, by its id or by a name that only one organization has.
    #[arg(long, env = "SCR_ORGANIZATION", value_name = "ID|NAME")]
    pub(in crate::cli) organization: Option<String>,
    /// The output format.
    #[arg(long, env = "SCR_FORMAT", value_enum, default_value_t)]
    pub(in crate::cli) format: Format,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct UsageArgs {
    /// The tenant, by its id or by a name that only one tenant has. The variable holds one of them [default: all tenants of
    /// `--organization`].
    #[arg(long, env = "SCR_TENANT", value_name = "ID|NAME", required_unless_present = "organization")]
    pub(in crate::cli) tenant: Vec<String>,
    /// The organization of the tenants, by its id or by a name that only one organization has.
    #[arg(long, env = "SCR_ORGANIZATION", value_name = "ID|NAME")]
    pub(in crate::cli) organization: Option<String>,
    /// The month (UTC), or the first of several [default: with `--organization` and `--statement`, all that the statement was
    /// made of].
    #[arg(long, env = "SCR_MONTH", value_name = "YYYY-MM", required_unless_present = "statement")]
    pub(in crate::cli) month: Option<Month>,
    /// The last month, at most 17 after the first [default: the value of `--month`].
    #[arg(long, env = "SCR_TO", value_name = "YYYY-MM", requires = "month")]
    pub(in crate::cli) to: Option<Month>,
    /// The file to write, which must not exist; `-` is standard output. Of several tenants or months: the folder for a file
    /// of each, all as of one moment, and `manifest.json` [default: `<tenant name>_detailed_usage_<YYYY-MM>.csv`, with what
    /// the report is restricted to; several reports need a folder].
    #[arg(short, long, env = "SCR_OUTPUT", value_name = "FILE|DIR")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// What to write [default: what the name of the file says, or else CSV]. `.gz` or `.zst` at its end compresses CSV and JSON.
    /// Parquet in a folder is a data set by year, month and tenant.
    #[arg(long, env = "SCR_FILE_FORMAT", value_enum)]
    pub(in crate::cli) format: Option<FileFormat>,
    /// Replace files that exist, each when the new report is complete.
    #[arg(long, env = "SCR_FORCE", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) force: bool,
    /// Show the reports as they were at this moment, for instance `2022-03-01T00:00:00Z` [default: now].
    #[arg(long, env = "SCR_AS_OF", value_name = "TIME")]
    pub(in crate::cli) as_of: Option<UtcTime>,
    /// Show the reports as this statement has billed them, by the statement's number.
    #[arg(long, env = "SCR_STATEMENT", value_name = "NUMBER", conflicts_with = "as_of")]
    pub(in crate::cli) statement: Option<StatementNumber>,
    /// Only assets of these types: `USER`, `TRANSPORT`, `TENANT`, `GATEWAY`, `ENDPOINT`.
    #[arg(long, env = "SCR_ASSET_TYPE", value_delimiter = ',', value_name = "TYPE")]
    pub(in crate::cli) asset_type: Vec<AssetType>,
    /// Only the assets with these ids. The variable holds one id.
    #[arg(long, env = "SCR_ASSET_ID", value_name = "ID")]
    pub(in crate::cli) asset_id: Vec<String>,
    /// Only these meters, by their names.
    #[arg(long, env = "SCR_METER", value_delimiter = ',', value_name = "NAME")]
    pub(in crate::cli) meter: Vec<String>,
    /// Only usage billed in these regions: `AF`, `AP`, `EU`, `NA`.
    #[arg(long, env = "SCR_REGION", value_delimiter = ',', value_name = "REGION")]
    pub(in crate::cli) region: Vec<BillingRegion>,
    /// `true`: only trial usage. `false`: only billable usage [default: both].
    #[arg(long, env = "SCR_TRIAL", value_name = "BOOL")]
    pub(in crate::cli) trial: Option<bool>,
    /// End lines with CR LF.
    #[arg(long, env = "SCR_CRLF", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) crlf: bool,
    /// Begin the file with a byte order mark, so that Excel reads it as UTF-8.
    #[arg(long, env = "SCR_BOM", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) bom: bool,
    /// Put a `'` before texts that a spreadsheet would run as a formula. Such a file no longer imports as it was.
    #[arg(long, env = "SCR_NEUTRALIZE_FORMULAS", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) neutralize_formulas: bool,
    /// Continue an interrupted download of plain CSV from `FILE.part`, or one of several reports in its folder, with all other
    /// options as before.
    #[arg(long, env = "SCR_RESUME", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) resume: bool,
    #[command(flatten)]
    pub(in crate::cli) server: ReadArgs,
}

// === impl UsageArgs ===

impl UsageArgs {
    pub(in crate::cli) fn filter(&self) -> UsageFilter {
        UsageFilter {
            asset_types: self.asset_type.clone(),
            asset_ids: self.asset_id.clone(),
            meter_names: self.meter.clone(),
            billing_regions: self.region.clone(),
            trial: self.trial,
        }
    }

    /// The form of each report; of several, all have the format that was asked for.
    pub(in crate::cli) fn form(&self, file: Option<&Path>) -> Result<ReportForm, String> {
        let form = ReportForm::of(self.format, file)?;
        if form.format != FileFormat::Csv && self.csv_format() != CsvFormat::default() {
            return Err(format!(
                "--crlf, --bom and --neutralize-formulas are of CSV, and not of --format {}",
                form.format.name()
            ));
        }
        Ok(form)
    }

    pub(in crate::cli) fn csv_format(&self) -> CsvFormat {
        CsvFormat {
            line_end: if self.crlf { LineEnd::Crlf } else { LineEnd::Lf },
            neutralize_formulas: self.neutralize_formulas,
            byte_order_mark: self.bom,
        }
    }
}
