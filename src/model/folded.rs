//! Case folding for searches.

use unicode_normalization::UnicodeNormalization as _;

/// The form that texts are searched in: composed, and in lower case by Unicode, whatever stands around a character.
/// (`str::to_lowercase` makes another letter of a sigma at the end of a word.)
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Decomposed first, so that letters are lowered without their accents.
    let lower = text.nfd().flat_map(char::to_lowercase);
    lower.map(|character| if character == 'ς' { 'σ' } else { character }).nfc().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::folded;
    use crate::model::composed;

    #[test]
    fn upper_and_lower_case_are_one() {
        for (upper, lower) in [
            ("ACME-1", "acme-1"),
            ("ÄRGER", "ärger"),
            ("A\u{308}RGER", "\u{e4}rger"),
            ("\u{c4}RGER", "a\u{308}rger"),
            ("ΟΔΟΣ", "οδος"),
            ("ДОМ", "дом"),
            ("東京", "東京"),
        ] {
            assert_eq!(folded(upper), folded(lower));
        }
        assert_eq!(folded("ΟΔΟΣ ς"), "οδοσ σ");
        assert_ne!(folded("straße"), folded("strasse"), "they are two things");
    }

    proptest! {
        /// So a part of a text is found in the text, wherever it was cut out between two characters.
        #[test]
        fn parts_are_folded_as_the_whole_is(front: String, back: String) {
            let whole = format!("{front}{back}");
            prop_assume!(composed(&whole) == format!("{}{}", composed(&front), composed(&back)));
            prop_assert_eq!(folded(&format!("{front}{back}")), folded(&front) + &folded(&back));
        }

        #[test]
        fn forms_of_a_text_are_one(text in "(\\PC|[a-zA-Z\u{300}-\u{345}\u{1E00}-\u{1EFF}]){0,12}") {
            let decomposed: String = unicode_normalization::UnicodeNormalization::nfd(text.as_str()).collect();
            prop_assert_eq!(folded(&decomposed), folded(&text));
            prop_assert_eq!(folded(&composed(&text)), folded(&text));
        }

        #[test]
        fn what_is_folded_stays_as_it_is(text: String) {
            let once = folded(&text);
            prop_assert_eq!(folded(&once), once);
        }
    }
}
