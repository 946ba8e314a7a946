//! Parts that several screens share. A function that takes a `Ui` ends in `_ui` and changes nothing but what it draws.

pub(super) mod assign;
pub(super) mod badge;
pub(super) mod chain;
pub(super) mod decode;
pub(super) mod field;
pub(super) mod finding;
pub(super) mod icon;
pub(super) mod picker;
pub(super) mod progress;
pub(super) mod timeline;
pub(super) mod toast;
