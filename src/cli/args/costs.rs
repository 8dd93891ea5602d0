//! What `costs` shows beside lines: what parts of them cost, and their tiers.

use clap::{Args as ClapArgs, ValueEnum, builder::FalseyValueParser};

use crate::{
    cli::report_form::FileFormat,
    contract::CsvFormat,
    model::{AssetType, BillingRegion, BreakdownFilter, CostGroup, CostGroups, MissingGroup},
};

/// What costs are shown as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CostsFormat {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document with the field names of the contract.
    Json,
    /// CSV with a header line.
    Csv,
    /// Apache Parquet, for data tools: the columns of CSV.
    Parquet,
    /// Apache Arrow, as a stream of batches: the columns of CSV.
    Arrow,
    /// A JSON object a line: the columns of CSV.
    Jsonl,
    /// CSV by FOCUS, the FinOps Open Cost and Usage Specification: docs/focus.md.
    Focus,
    /// The same as Apache Parquet.
    FocusParquet,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct BreakdownArgs {
    /// Show what each part of a line costs: by `asset`, `day`, `asset-type` or `platform`, or several of them.
    /// Needs `--organization`.
    #[arg(long, env = "SCR_BY", value_delimiter = ',', value_name = "GROUP", requires = "organization")]
    by: Vec<CostGroup>,
    /// Only rows of assets of these types: `USER`, `TRANSPORT`, `TENANT`, `GATEWAY`, `ENDPOINT`. Needs `--by asset` or
    /// `--by asset-type`. No option of this kind changes what a row costs.
    #[arg(long, env = "SCR_ASSET_TYPE", value_delimiter = ',', value_name = "TYPE")]
    asset_type: Vec<AssetType>,
    /// Only rows of the assets with these ids. Needs `--by asset`. The variable holds one id.
    #[arg(long, env = "SCR_ASSET_ID", value_name = "ID")]
    asset_id: Vec<String>,
    /// Only rows of these meters, by their names. Needs `--by`.
    #[arg(long, env = "SCR_METER", value_delimiter = ',', value_name = "NAME")]
    meter: Vec<String>,
    /// Only rows billed in these regions: `AF`, `AP`, `EU`, `NA`. Needs `--by`.
    #[arg(long, env = "SCR_REGION", value_delimiter = ',', value_name = "REGION")]
    region: Vec<BillingRegion>,
    /// Show a row for each tier that the quantity of a line reaches. The amounts of a line add up to its cost before that
    /// is rounded. Not with a table, JSON, which has tiers anyway, or `--by`.
    #[arg(long, env = "SCR_TIERS", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) tiers: bool,
    /// Put a `'` before texts of CSV that a spreadsheet would run as a formula.
    #[arg(long, env = "SCR_NEUTRALIZE_FORMULAS", value_parser = FalseyValueParser::new())]
    neutralize_formulas: bool,
}

// === impl CostsFormat ===

impl CostsFormat {
    /// The form of files with the columns of FOCUS.
    pub(in crate::cli) fn focus(self) -> Option<FileFormat> {
        match self {
            Self::Focus => Some(FileFormat::Csv),
            Self::FocusParquet => Some(FileFormat::Parquet),
            _ => None,
        }
    }

    /// Its form in files of columns, which are those of CSV.
    pub(in crate::cli) fn columns(self) -> Option<FileFormat> {
        match self {
            Self::Table | Self::Json | Self::Focus | Self::FocusParquet => None,
            Self::Csv => Some(FileFormat::Csv),
            Self::Parquet => Some(FileFormat::Parquet),
            Self::Arrow => Some(FileFormat::Arrow),
            Self::Jsonl => Some(FileFormat::Jsonl),
        }
    }
}

// === impl BreakdownArgs ===

impl BreakdownArgs {
    pub(in crate::cli) fn csv_format(&self) -> CsvFormat {
        CsvFormat { neutralize_formulas: self.neutralize_formulas, ..CsvFormat::default() }
    }

    /// What to show parts by, and which; `None`: lines.
    pub(in crate::cli) fn breakdown(&self) -> Result<Option<(CostGroups, BreakdownFilter)>, String> {
        let filter = BreakdownFilter {
            asset_types: self.asset_type.clone(),
            asset_ids: self.asset_id.clone(),
            meter_names: self.meter.clone(),
            billing_regions: self.region.clone(),
        };
        let groups: CostGroups = self.by.iter().copied().collect();
        // By hand, since a switch that its variable turns off would count, too.
        if self.tiers && !groups.is_empty() {
            return Err("--tiers and --by cannot be used together: tiers are those of lines".to_owned());
        }
        filter.check(groups).map_err(|missing| match missing {
            MissingGroup::OfAssetTypes => "--asset-type needs --by asset or --by asset-type",
            MissingGroup::OfAssetIds => "--asset-id needs --by asset",
        })?;
        if groups.is_empty() && !filter.is_empty() {
            return Err("--meter and --region need --by".to_owned());
        }
        Ok((!groups.is_empty()).then_some((groups, filter)))
    }
}
