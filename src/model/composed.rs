//! Unicode normalization.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization as _, is_nfc};

/// The text with its characters composed: Unicode's normal form C, which is what the W3C recommends, and what most keyboards
/// make. A Mac's file names come decomposed.
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

/// What has a name: nothing, one thing, or several.
#[derive(Debug, PartialEq, Eq)]
pub enum Named<T> {
    Nothing,
    One(T),
    Several(Vec<T>),
}

impl<T> Named<T> {
    /// Those of a list that have exactly this name, or else another normal form of it.
    pub fn of(mut list: Vec<T>, name: &str, name_of: impl Fn(&T) -> &str) -> Self {
        if list.iter().any(|entry| name_of(entry) == name) {
            list.retain(|entry| name_of(entry) == name);
        } else {
            list.retain(|entry| composed(name_of(entry)) == composed(name));
        }
        match list.len() {
            1 => list.pop().map_or(Self::Nothing, Self::One),
            0 => Self::Nothing,
            _ => Self::Several(list),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Named, composed};

    #[test]
    fn an_exact_name_goes_before_other_forms_of_it() {
        let (decomposed, precomposed) = ("Zu\u{308}rich", "Z\u{fc}rich");
        let find = |list: &[&'static str], name: &str| Named::of(list.to_vec(), name, |entry| entry);
        assert_eq!(find(&[decomposed, precomposed, "Zurich"], precomposed), Named::One(precomposed));
        assert_eq!(find(&[decomposed, "Zurich"], precomposed), Named::One(decomposed));
        assert_eq!(find(&["a", "b", "a"], "a"), Named::Several(vec!["a", "a"]));
        assert_eq!(find(&["a", "b"], "A"), Named::Nothing);
        assert_eq!(find(&[], ""), Named::Nothing);
    }

    #[test]
    fn forms_of_a_text_are_one() {
        for (decomposed, text) in [
            ("Zu\u{308}rich", "Z\u{fc}rich"),
            ("e\u{301}", "\u{e9}"),
            ("\u{1100}\u{1161}", "\u{ac00}"),
            ("\u{212b}", "\u{c5}"),
            ("q\u{307}\u{323}", "q\u{323}\u{307}"),
            ("plain", "plain"),
        ] {
            assert_eq!(composed(decomposed), composed(text));
            assert_eq!(composed(composed(decomposed).as_ref()), composed(decomposed));
        }
        // Alike to the eye, and not the same characters.
        assert_ne!(composed("\u{fb01}"), composed("fi"));
        assert_ne!(composed("\u{410}"), composed("A"));
    }
}
