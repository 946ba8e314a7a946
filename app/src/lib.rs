//! The window and the command line of Bootyard. What they show and ask for is in `bootyard-core`.

pub mod gui;
