//! Everything long: id, kind, progress, cancel.
