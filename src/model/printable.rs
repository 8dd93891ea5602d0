//! Texts of others on a terminal.

use std::borrow::Cow;

/// A text in which U+FFFD stands for every character that a terminal would not show as it is: control characters (C0, C1),
/// which move the cursor or change its settings, and marks that change the direction of a text, break lines or are
/// invisible. Joiners stay, which some scripts need.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_deceptive) {
        Cow::Owned(text.chars().map(|character| if is_deceptive(character) { '\u{fffd}' } else { character }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether [`printable`] replaces a character.
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Marks, embeddings and isolates of Unicode's bidirectional algorithm (UAX #9).
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Separators of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // Invisible: spaces without width, deprecated and interlinear marks, tags.
            | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        for text in
            ["\u{1b}[2J", "\u{9b}31m", "a\u{7f}", "\r", "\u{202e}evil", "\u{2066}", "\u{61c}", "\u{2028}", "\u{e0041}"]
        {
            let shown = printable(text);
            assert!(shown.contains('\u{fffd}') && !shown.contains(is_deceptive), "{text:?}: {shown:?}");
        }
        for text in ["", "plain", "Zürich", "東京", "שלום", "می\u{200c}خواهم", "\u{1f468}\u{200d}\u{1f4bb}"]
        {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }
}
