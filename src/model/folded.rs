//! Upper and lower case as one.

/// The form that texts are searched in: lower case by Unicode, whatever stands around a character. (`str::to_lowercase`
/// makes another letter of a sigma at the end of a word.)
pub fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|character| if character == 'ς' { 'σ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::folded;

    #[test]
    fn upper_and_lower_case_are_one() {
        for (upper, lower) in
            [("ACME-1", "acme-1"), ("ÄRGER", "ärger"), ("ΟΔΟΣ", "οδος"), ("ДОМ", "дом"), ("東京", "東京")]
        {
            assert_eq!(folded(upper), folded(lower));
        }
        assert_eq!(folded("ΟΔΟΣ ς"), "οδοσ σ");
        assert_ne!(folded("straße"), folded("strasse"), "they are two things");
    }

    proptest! {
        /// So a part of a text is found in the text, wherever it was cut out.
        #[test]
        fn parts_are_folded_as_the_whole_is(front: String, back: String) {
            prop_assert_eq!(folded(&format!("{front}{back}")), folded(&front) + &folded(&back));
        }

        #[test]
        fn what_is_folded_stays_as_it_is(text: String) {
            let once = folded(&text);
            prop_assert_eq!(folded(&once), once);
        }
    }
}
