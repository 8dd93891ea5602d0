//! README.md and docs/: what they say is held against the program.

mod configuration;
