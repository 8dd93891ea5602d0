//! README.md and docs/: what they say is held against the program.

mod blocks;
mod commands;
mod configuration;
mod pages;
