//! The fenced blocks of a page, and what a page says about them.

use std::path::{Path, PathBuf};

/// What stands as an HTML comment directly before a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// `<!-- not run: REASON -->`, before commands.
    NotRun(String),
    /// `<!-- fails -->`, before commands that must fail.
    Fails,
    /// `<!-- not compared: REASON -->`, before an output that no test can see.
    NotCompared(String),
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Of the fence, from 1.
    pub(super) line: usize,
    pub(super) language: String,
    pub(super) text: String,
    pub(super) marker: Option<Marker>,
    /// How many headings stand before it.
    section: usize,
}

/// Commands, and the output that the page shows for them.
pub(super) struct Commands {
    pub(super) block: Block,
    pub(super) output: Option<Block>,
}

pub(super) fn project(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// README.md and the pages of docs/, by their paths in the project.
pub(super) fn pages() -> Vec<String> {
    let docs = project("docs").read_dir().expect("docs/");
    let names = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    let mut pages: Vec<String> =
        names.filter(|name| Path::new(name).extension().is_some_and(|ext| ext == "md")).collect();
    pages.push("README.md".to_owned());
    pages.sort();
    pages
}

pub(super) fn read(page: &str) -> String {
    std::fs::read_to_string(project(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    let mut section = 0;
    let mut before = "";
    for (index, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some("") if is_open => is_open = false,
            Some(language) if !is_open => {
                is_open = true;
                let marker = marker(before);
                blocks.push(Block {
                    line: index + 1,
                    language: language.to_owned(),
                    text: String::new(),
                    marker,
                    section,
                });
            }
            _ if is_open => {
                let block = blocks.last_mut().expect("an open block");
                block.text.push_str(line);
                block.text.push('\n');
            }
            _ => section += usize::from(line.starts_with('#')),
        }
        before = line;
    }
    assert!(!is_open, "a block is not closed");
    blocks
}

fn marker(line: &str) -> Option<Marker> {
    let comment = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    match comment.split_once(": ") {
        Some(("not run", reason)) => Some(Marker::NotRun(reason.to_owned())),
        Some(("not compared", reason)) => Some(Marker::NotCompared(reason.to_owned())),
        None if comment == "fails" => Some(Marker::Fails),
        _ => panic!("no marker of a block: {comment}"),
    }
}

/// The commands of a page, in its order, for a shell or for Python. The next block of text or JSON of the same section is their output.
pub(super) fn commands(text: &str) -> Vec<Commands> {
    let mut commands: Vec<Commands> = Vec::new();
    for block in blocks(text) {
        match (block.language.as_str(), commands.last_mut()) {
            ("sh" | "python", _) => commands.push(Commands { block, output: None }),
            ("text" | "json", Some(last)) if last.output.is_none() && last.block.section == block.section => {
                last.output = Some(block);
            }
            _ => {}
        }
    }
    commands
}

/// Whether the output is the documented one, but for spaces and line breaks, for what `...` leaves out, and for times of
/// publication.
pub(super) fn agrees(documented: &str, found: &str) -> bool {
    let [documented, found] = [documented, found].map(plain);
    let parts: Vec<&str> = documented.split("...").map(str::trim).collect();
    let Some(mut rest) = found.strip_prefix(parts[0]) else { return false };
    if parts.len() == 1 {
        return rest.is_empty();
    }
    for part in &parts[1..parts.len() - 1] {
        let Some(start) = rest.find(part) else { return false };
        rest = &rest[start + part.len()..];
    }
    rest.ends_with(parts[parts.len() - 1])
}

fn plain(text: &str) -> String {
    let mut plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // A time with a fraction of a second is one at which something was done.
    let mut from = 0;
    while let Some(found) = plain[from..].find('.') {
        let point = from + found;
        let digits = plain[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let start = point.checked_sub("2022-02-01T00:00:00".len()).filter(|&start| plain.is_char_boundary(start));
        let is_time = |start: usize| plain[start..point].matches([':', '-', 'T']).count() == 5;
        match start {
            Some(start) if digits > 0 && plain[point + 1 + digits..].starts_with('Z') && is_time(start) => {
                plain.replace_range(start..point + digits + 2, "TIME");
                from = start;
            }
            _ => from = point + 1,
        }
    }
    plain
}

#[test]
fn outputs_are_compared_but_for_what_is_left_out() {
    for (documented, found, expected) in [
        ("a  b\nc", "a b c", true),
        ("a b", "a c", false),
        ("a b", "a b c", false),
        ("a ... c", "a b b c", true),
        ("a ... c", "a b b d", false),
        ("...\nb\n...", "a b c", true),
        ("...\nx\n...", "a b c", false),
        ("load of 2026-11-22T17:36:01.625955Z: 11", "load of 2027-01-02T03:04:05.1Z: 11", true),
        ("start 2022-02-01T00:00:00Z", "start 2022-02-02T00:00:00Z", false),
        ("12.50 Z", "13.50 Z", false),
    ] {
        assert_eq!(agrees(documented, found), expected, "{documented:?} {found:?}");
    }
}
