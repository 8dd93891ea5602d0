//! The pages by themselves: links, lengths, and that every block of commands is accounted for.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use super::{
    blocks::{Marker, blocks, pages, project, read},
    commands::RUN,
};

/// More does not fit on a page that people read to its end.
const README_LINES: usize = 180;

#[test]
fn the_readme_fits_on_a_page() {
    let lines = read("README.md").lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines; more than {README_LINES} belong into docs/");
}

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let mut with_commands = BTreeSet::new();
    for page in pages() {
        for block in blocks(&read(&page)) {
            let place = format!("{page}:{}", block.line);
            // Commands under another name would be run by nobody.
            let known = ["sh", "python", "text", "json", "toml", "yaml", "rust", "mermaid"];
            assert!(known.contains(&block.language.as_str()), "{place}: a block of {:?}", block.language);
            match &block.marker {
                Some(Marker::NotRun(reason) | Marker::NotCompared(reason)) => {
                    assert!(reason.len() > 8, "{place}: {reason:?} is no reason");
                }
                Some(Marker::Fails) => assert_eq!(block.language, "sh", "{place}"),
                None => {}
            }
            if ["sh", "python"].contains(&block.language.as_str()) && !matches!(block.marker, Some(Marker::NotRun(_))) {
                with_commands.insert(page.clone());
            }
        }
    }
    let run: BTreeSet<String> = RUN.iter().map(|page| (*page).to_owned()).collect();
    assert_eq!(with_commands, run, "the pages with commands are those that tests run");
}

/// All texts for people.
fn texts() -> Vec<String> {
    let mut files = pages();
    files.extend(["CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned));
    for entry in project("docs/decisions").read_dir().unwrap() {
        files.push(format!("docs/decisions/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    files
}

/// No compiler reads them after a merge.
#[test]
fn no_text_is_left_half_merged() {
    for file in texts() {
        let is_mark = |line: &str| ["<<<<<<< ", "||||||| ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark));
        let found = read(&file).lines().position(|line| is_mark(line) || line == "=======");
        assert_eq!(found, None, "{file} has a mark of a merge in this line, counted from 0");
    }
}

#[test]
fn links_lead_somewhere() {
    let files = texts();
    let mut anchors: HashMap<PathBuf, Vec<String>> = HashMap::new();
    let mut checked = 0;
    for file in &files {
        for link in links(&read(file)) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = Path::new(file).parent().unwrap();
            let target = project(if path.is_empty() { PathBuf::from(file) } else { folder.join(path) });
            assert!(target.exists(), "{file}: {link}");
            if !anchor.is_empty() {
                let text = || headings(&std::fs::read_to_string(&target).expect("a page"));
                let known = anchors.entry(target.canonicalize().unwrap()).or_insert_with(text);
                assert!(known.iter().any(|known| known == anchor), "{file}: {link}, and there are {known:?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked} links");
}

/// Text without blocks and without code in lines.
fn prose(text: &str) -> String {
    let mut is_open = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_open = !is_open;
        } else if !is_open {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    // A link may go over two lines, but its target is on one; code in lines has no links.
    let text: String = prose.split('`').step_by(2).collect::<Vec<_>>().join("x");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(text: &str) -> Vec<String> {
    let prose = prose(text);
    let mut anchors: Vec<String> = Vec::new();
    for heading in prose.lines().filter(|line| line.starts_with('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
        let anchor = kept.collect::<String>().replace(' ', "-");
        let same = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
    }
    anchors
}
