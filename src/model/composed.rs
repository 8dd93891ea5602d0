//! Unicode normalization.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization as _, is_nfc};

/// The text with its characters composed: Unicode's normal form C, which is what the W3C recommends, and what most keyboards
/// make. A Mac's file names come decomposed.
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

#[cfg(test)]
mod tests {
    use super::composed;

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
