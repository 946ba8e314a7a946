//! The program: arguments to window, `serve` or a one-shot command. What it does is in `bootyard-core`.

pub mod cli;
pub mod gui;
mod told;
