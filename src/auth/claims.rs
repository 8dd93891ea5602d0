//! Roles and organizations in a token's claims, in the shapes that issuers use.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value};

/// The claims of a verified token.
pub(super) type Claims = Map<String, Value>;

/// The name of a claim, or a dotted path such as `realm_access.roles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(String);

// === impl ClaimPath ===

impl ClaimPath {
    /// The default claim for roles.
    pub fn roles() -> Self {
        Self("roles".to_owned())
    }

    /// The default claim for organizations.
    pub fn organizations() -> Self {
        Self("organizations".to_owned())
    }

    /// The texts that the claim lists: the strings of an array, or the words of a string. A claim that is not there, or of
    /// another shape, lists nothing.
    pub(super) fn texts(&self, claims: &Claims) -> Vec<String> {
        match self.find(claims) {
            Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(values)) => values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        }
    }

    /// A claim with exactly this name takes precedence: names may contain dots, as URLs do.
    fn find<'a>(&self, claims: &'a Claims) -> Option<&'a Value> {
        if let Some(value) = claims.get(&self.0) {
            return Some(value);
        }
        let (first, rest) = self.0.split_once('.')?;
        let mut value = claims.get(first)?;
        for name in rest.split('.') {
            value = value.get(name)?;
        }
        Some(value)
    }
}

impl FromStr for ClaimPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() { Err("the name of a claim must not be empty") } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(path: &str, claims: &Value) -> Vec<String> {
        path.parse::<ClaimPath>().unwrap().texts(claims.as_object().unwrap())
    }

    #[test]
    fn claims_are_found_in_every_shape_that_issuers_use() {
        for (path, claims, expected) in [
            ("roles", json!({"roles": "Reports"}), &["Reports"][..]),
            ("roles", json!({"roles": "Reports  UsageImport"}), &["Reports", "UsageImport"]),
            ("roles", json!({"roles": ["Reports", "Two Words", 7, null]}), &["Reports", "Two Words"]),
            ("realm_access.roles", json!({"realm_access": {"roles": ["Reports"]}}), &["Reports"]),
            ("a.b.c", json!({"a": {"b": {"c": "x y"}}}), &["x", "y"]),
            ("https://x.example/roles", json!({"https://x.example/roles": ["Reports"]}), &["Reports"]),
            ("a.b", json!({"a.b": "flat", "a": {"b": "nested"}}), &["flat"]),
        ] {
            assert_eq!(texts(path, &claims), expected, "{path} in {claims}");
        }
    }

    #[test]
    fn what_is_not_a_list_of_texts_lists_nothing() {
        for (path, claims) in [
            ("roles", json!({})),
            ("roles", json!({"roles": ""})),
            ("roles", json!({"roles": []})),
            ("roles", json!({"roles": null})),
            ("roles", json!({"roles": true})),
            ("roles", json!({"roles": 1})),
            ("roles", json!({"roles": {"Reports": true}})),
            ("roles", json!({"roles": [["Reports"]]})),
            ("roles", json!({"Roles": ["Reports"]})),
            ("realm_access.roles", json!({"realm_access": ["roles"]})),
            ("realm_access.roles.", json!({"realm_access": {"roles": ["Reports"]}})),
        ] {
            assert_eq!(texts(path, &claims), [""; 0], "{path} in {claims}");
        }
    }
}
