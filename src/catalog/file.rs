//! Reads a catalog from TOML or JSON. Both are converted to JSON values first, so that the same code checks them.

use super::{Catalog, InvalidCatalog, Problem, parse, raw::RawCatalog};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogFormat {
    /// TOML 1.0.
    Toml,
    Json,
}

pub fn read(text: &str, format: CatalogFormat) -> Result<Catalog, InvalidCatalog> {
    // Some editors write a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value = match format {
        CatalogFormat::Toml => {
            toml::from_str::<toml::Value>(text).map(from_toml).map_err(|error| syntax(error.to_string().trim_end()))?
        }
        CatalogFormat::Json => serde_json::from_str(text).map_err(|error| syntax(&format!("not JSON: {error}")))?,
    };
    let raw: RawCatalog = serde_path_to_error::deserialize(value).map_err(|error| {
        let place = error.path().to_string();
        let place = if place == "." { String::new() } else { place };
        InvalidCatalog(vec![Problem { place, reason: hint(error.inner().to_string()) }])
    })?;
    parse::check(raw)
}

fn syntax(reason: &str) -> InvalidCatalog {
    InvalidCatalog(vec![Problem { place: String::new(), reason: reason.to_owned() }])
}

/// The most likely mistake is a number without quotes for a decimal.
fn hint(reason: String) -> String {
    let is_number = reason.contains("floating point") || reason.contains("integer");
    if is_number && reason.contains("expected a string") {
        return format!("{reason} (write decimals in quotes, so that no digit is lost)");
    }
    reason
}

/// Dates become strings.
fn from_toml(value: toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, from_toml(value))).collect(),
    }
}
