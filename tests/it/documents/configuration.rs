//! `docs/configuration.md`, made from the definition of the command line.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use clap::{Arg, ArgAction, Command};
use secure_connect_reports::cli;

const FILE: &str = "docs/configuration.md";

const HEAD: &str =
    "<!-- Made by `make docs` from src/cli/args.rs. Change the comments of the options there, not this file. -->

# Configuration

Every command of `secure-connect-reports`, with its options and their environment variables. `--help` after a command
prints the same.

- Every option can be set by an environment variable. The option takes precedence. An empty variable counts as unset.
- A switch is on when its variable is set to anything but `0`, `false`, `no`, `off`, `n` or `f`.
- Lists are separated by commas.
- Options with the value `SECONDS` take whole seconds.
- The exit code is 0 for success, 1 for failure, and 2 for an invalid command line.

How options work together is in [operations.md](operations.md), [database.md](database.md) and [security.md](security.md).
";

/// An option is described once for all commands that have it, when at least so many have it.
const SHARED_BY: usize = 3;

/// A command that does something, under its full name.
struct Leaf {
    name: String,
    about: String,
    args: Vec<Arg>,
}

#[test]
fn configuration_md_is_the_definition_of_the_command_line() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let expected = page(&cli::command());
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| !value.is_empty()) {
        std::fs::write(&path, &expected).expect("a file that can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
    assert!(found == expected, "{FILE} is not up to date: run `make docs`. The first difference: {difference:#?}");
}

#[test]
fn every_option_has_a_variable_of_its_name_and_a_help_text() {
    for leaf in leaves(&cli::command()) {
        for arg in &leaf.args {
            let what = format!("{} of {}", arg.get_id(), leaf.name);
            assert!(arg.get_help().is_some_and(|help| help.to_string().len() > 4), "{what} has no help text");
            let Some(long) = arg.get_long() else { continue };
            let variable = arg.get_env().unwrap_or_else(|| panic!("{what} has no variable")).to_string_lossy();
            let name = format!("SCR_{}", long.replace('-', "_").to_uppercase());
            // Tokens for development name the issuer as the server does, and files have other formats than what is shown.
            let is_exception = ["DATABASE_URL", "SCR_OIDC_ISSUER", "SCR_FILE_FORMAT"].contains(&variable.as_ref());
            assert!(variable == name || is_exception, "{what} has the variable {variable}");
        }
    }
}

fn page(root: &Command) -> String {
    let leaves = leaves(root);
    let mut page = HEAD.to_owned();
    let globals: Vec<&Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).collect();
    section(&mut page, "All commands", None, &globals);

    // Options that several commands share, in the order of their first command.
    let mut groups: Vec<(BTreeSet<usize>, Vec<&Arg>)> = Vec::new();
    for arg in leaves.iter().flat_map(|leaf| &leaf.args) {
        let users: BTreeSet<usize> =
            leaves.iter().enumerate().filter(|(_, leaf)| has(leaf, arg)).map(|(index, _)| index).collect();
        if users.len() < SHARED_BY {
            continue;
        }
        match groups.iter_mut().find(|(group, _)| *group == users) {
            Some((_, args)) if args.iter().any(|known| is_same(known, arg)) => {}
            Some((_, args)) => args.push(arg),
            None => groups.push((users, vec![arg])),
        }
    }
    for (users, args) in &groups {
        let names: Vec<String> = users.iter().map(|&index| format!("`{}`", leaves[index].name)).collect();
        section(&mut page, &format!("Shared by {}", names.join(", ")), None, args);
    }
    for leaf in &leaves {
        let is_shared = |arg: &Arg| groups.iter().any(|(_, args)| args.iter().any(|shared| is_same(shared, arg)));
        let own: Vec<&Arg> = leaf.args.iter().filter(|arg| !is_shared(arg)).collect();
        section(&mut page, &format!("`{}`", leaf.name), Some(&leaf.about), &own);
    }
    page
}

fn leaves(root: &Command) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for command in root.get_subcommands() {
        let args = command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set());
        let args: Vec<Arg> = args.cloned().collect();
        // One with others may do something by itself.
        if !command.has_subcommands() || !args.is_empty() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            leaves.push(Leaf { name: command.get_name().to_owned(), about, args });
        }
        let inner = self::leaves(command).into_iter();
        leaves.extend(inner.map(|leaf| Leaf { name: format!("{} {}", command.get_name(), leaf.name), ..leaf }));
    }
    leaves
}

fn has(leaf: &Leaf, arg: &Arg) -> bool {
    leaf.args.iter().any(|own| is_same(own, arg))
}

fn is_same(one: &Arg, other: &Arg) -> bool {
    one.get_id() == other.get_id() && row(one) == row(other)
}

/// A heading, and below it a table for each heading of `--help`.
fn section(page: &mut String, title: &str, about: Option<&str>, args: &[&Arg]) {
    write!(page, "\n## {title}\n").unwrap();
    if let Some(about) = about {
        write!(page, "\n{}.\n", about.trim_end_matches('.')).unwrap();
    }
    if args.is_empty() {
        page.push_str("\nIt has no options of its own.\n");
    }
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in args {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in &headings {
        if let Some(heading) = heading.filter(|_| headings.len() > 1) {
            write!(page, "\n**{heading}**\n").unwrap();
        }
        page.push_str("\n| option | variable | default | meaning |\n| --- | --- | --- | --- |\n");
        for arg in args.iter().filter(|arg| arg.get_help_heading() == *heading) {
            page.push_str(&row(arg));
        }
    }
}

fn row(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .and_then(<[_]>::first)
        .map_or_else(|| arg.get_id().as_str().to_uppercase(), |name| name.as_str().to_owned());
    let takes_value = arg.get_action().takes_values();
    let option = match (arg.get_short(), arg.get_long()) {
        (_, None) => format!("`{value}`"),
        (short, Some(long)) => {
            let short = short.map(|short| format!("`-{short}`, ")).unwrap_or_default();
            let value = if takes_value { format!(" {value}") } else { String::new() };
            format!("{short}`--{long}{value}`")
        }
    };
    let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let (help, told) = parted(&help(arg));
    let values: Vec<String> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into()).collect();
    let default = match (told, values.as_slice()) {
        (Some(told), _) => told,
        (None, [value]) if value.is_empty() => "empty".to_owned(),
        (None, [_, ..]) => format!("`{}`", values.join(",")),
        (None, []) if arg.is_required_set() => "required".to_owned(),
        (None, []) if takes_value => "unset".to_owned(),
        (None, []) => "off".to_owned(),
    };
    let cells = [option, variable, default, help].map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

/// The whole text about an option: its help, its possible values, how it may be repeated.
fn help(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let (text, told) = parted(&help);
    help = format!("{}.", text.trim_end_matches(['.', ' ']));
    if arg.get_action().takes_values() {
        let values: Vec<String> = arg.get_possible_values().iter().map(possible_value).collect();
        if !values.is_empty() {
            write!(help, " Possible values: {}.", values.join("; ")).unwrap();
        }
    }
    if matches!(arg.get_action(), ArgAction::Append) && arg.get_long().is_some() {
        let list = if arg.get_value_delimiter().is_some() { ", or with a list" } else { "" };
        write!(help, " May be given several times{list}.").unwrap();
    }
    match told {
        Some(told) => format!("{help} [default: {told}]"),
        None => help,
    }
}

fn possible_value(value: &clap::builder::PossibleValue) -> String {
    match value.get_help() {
        Some(help) => format!("`{}` ({})", value.get_name(), help.to_string().trim_end_matches('.')),
        None => format!("`{}`", value.get_name()),
    }
}

/// A default that is computed is told at the end of the help text: `[default: ...]`.
fn parted(help: &str) -> (String, Option<String>) {
    let told = help.trim_end_matches('.').strip_suffix(']').and_then(|help| help.rsplit_once(" [default: "));
    match told {
        Some((help, default)) => (help.to_owned(), Some(default.to_owned())),
        None => (help.to_owned(), None),
    }
}
