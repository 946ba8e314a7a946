//! The window: snapshots of the engine drawn, commands to it sent.
//!
//! It holds an [`EngineHandle`](bootyard_core::api::EngineHandle) and nothing of the engine itself: each frame reads the newest snapshot, views
//! draw it and push [`action::Action`]s, and these are carried out when the frame is drawn. No view changes the lab, waits for
//! the engine, or names a colour ([`theme`] has them all). It repaints when a snapshot is newer, and once a second while a time
//! on the screen grows.

mod action;
mod app;
mod asking;
mod brought;
mod clock;
mod command;
mod desktop;
mod disk_ask;
mod event_text;
mod labs;
pub(crate) mod lang;
mod launch;
mod notice;
mod packets;
mod prefs;
mod save;
mod say;
mod targets;
#[cfg(test)]
mod tests;
mod theme;
mod views;
mod widgets;

pub use app::App;
pub use launch::run;
