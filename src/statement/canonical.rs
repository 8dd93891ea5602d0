//! The canonical form of JSON, by RFC 8785 (JCS): keys sorted, no spaces, one way to write each string. Documents have no
//! numbers but small integers, so that every JSON library writes them alike.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// Writes a value. Values that are read from JSON, or that have its types, can always be written.
pub fn canonical(value: &impl Serialize) -> String {
    serde_json::to_value(value).map(|value| sorted(&value)).unwrap_or_default()
}

fn sorted(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            // Keys are ASCII, so that their bytes are in the order of their UTF-16 code units.
            let fields: BTreeMap<&String, &Value> = fields.iter().collect();
            let fields = fields.into_iter().map(|(key, value)| format!("{}:{}", text(key), sorted(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(sorted).collect::<Vec<_>>().join(",")),
        Value::String(string) => text(string),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// With the escapes of JCS, which are those of the library.
fn text(string: &str) -> String {
    Value::from(string).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_form_is_that_of_rfc_8785() {
        let value = json!({
            "b": [true, false, null, 17, "\u{8}\u{c}\n\r\t\u{1f}\u{7f}\"\\/ä😀\u{2028}"],
            "a": {"zZ": 1, "z": {}, "Z": []},
        });
        let expected = "{\"a\":{\"Z\":[],\"z\":{},\"zZ\":1},\
             \"b\":[true,false,null,17,\"\\b\\f\\n\\r\\t\\u001f\u{7f}\\\"\\\\/ä😀\u{2028}\"]}";
        assert_eq!(canonical(&value), expected);
        assert_eq!(canonical(&serde_json::from_str::<Value>(expected).expect("JSON")), expected);
    }
}
