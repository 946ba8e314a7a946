//! The lab is a folder: `lab.toml` (what a person decides), `lab.db` (what the program observes), `disks/`, `media/`,
//! `firmware/`. Copy the folder and the lab has moved.
//!
//! [`schema`] is lab.toml as types that cannot be wrong; everything else in the engine reads only these. [`parse`] makes them of
//! text and tells every [`Problem`] with its line; [`Document`] changes the text and keeps a person's comments, and [`Settings`] are
//! the keys that the window changes. [`Folder`] has the
//! paths, the replacement of lab.toml in one step, and the [`Lock`] that decides who owns the lab. [`check()`] is all that can be
//! said about a lab without serving it. [`Db`] is lab.db.

mod check;
mod db;
mod edit;
mod folder;
mod lease;
mod problem;
mod read;
mod redact;
pub mod schema;
mod settings;

pub use check::{check, check_entries, check_networks};
pub use db::{
    ConfirmedInterface, Db, DbError, EVENTS_KEPT, EpochRecord, HostRecord, InstallRecord, JobRecord, this_machine,
};
#[doc(hidden)]
pub use edit::fuzz as fuzz_edit;
pub use edit::{Document, HostRef, SettingSurroundings};
pub use folder::{Folder, LabError, Lock, Stamp, default_dir};
pub use lease::{LeaseRecord, LeaseState};
pub(crate) use problem::printable;
pub use problem::{Problem, ProblemSeverity};
#[doc(hidden)]
pub use read::fuzz as fuzz_toml;
pub use read::{derived_iqn, duration_text, locate, parse, parse_duration, parse_size};
pub use redact::without_secrets;
pub use schema::{
    Allow, Boot, Chap, Disk, FirmwareRule, Host, Install, InstallThen, IscsiArgs, IscsiBoot, IscsiVia, Lab, Lease,
    Mode, Name, NameError, Network, Ports, Profile, ProfileKind, ProfileWords, Seat, Secret, Subnet, Unknown, Writes,
};
pub(crate) use settings::settings_of;
pub use settings::{
    NewSecret, SettingChange, SettingEntry, SettingPlace, SettingProblem, SettingValue, Settings, setting_keys,
};
