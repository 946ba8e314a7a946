//! Bootyard: the window, and the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    bootyard::cli::run()
}
