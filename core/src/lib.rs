//! The engine of Bootyard: everything but the window.
//!
//! In reading order:
//!
//! * [`machine`] states the contract that every protocol machine keeps.
//! * [`api`] is what crosses the engine's border: [`api::Event`], [`api::Snapshot`], [`api::Command`] and the handle that
//!   carries them, in this process or over the control socket.
//! * [`net`] is the seam to the operating system and has the address types.
//! * [`lab`] is the folder: `lab.toml` (what a person decides), `lab.db` (what the program observes), the lock.
//! * [`boot`] makes the one decision: an immutable [`boot::Plan`] and what a client gets from it, the iPXE script included.
//! * [`dhcp`], [`tftp`], [`http`] and [`iscsi`] are the four servers. Each has the same rooms: `wire` (bytes to types and back),
//!   `machine` (what to do: no sockets, no clock, no disk) and `service` (the only place with sockets and tasks). [`ndp`] is the
//!   one answer to iPXE's router solicitation, in the same shape.
//! * [`disks`] is what a LUN reads and writes: images and overlays. [`media`] is installers and their answer files.
//! * [`inspect`] looks into images: boot loaders, systems, what would keep them from booting; and takes kernels out of them.
//! * [`lang`] has every sentence, in every language.
//! * [`hosts`] folds events into who is booting, how far, and since when. [`diagnose`] folds them into findings.
//! * [`exchange`] turns the configuration of other servers into a lab, and a lab into theirs.
//! * [`trace`] keeps what was on the wire, writes and reads recordings, and makes events of packets that no server of ours saw.
//! * [`doctor`] looks before the first boot, and at any time, for what would stop one.
//! * [`jobs`] is everything long: progress, cancel, a clean end.
//! * [`engine`] starts, supervises and stops it all; it is the only module that knows the others.
//!
//! Dependencies point one way: `engine -> services -> machines -> wire`, machines `-> boot::Plan`; `hosts` and `diagnose` know
//! events, never services.

pub mod api;
pub mod boot;
pub mod dhcp;
pub mod diagnose;
pub mod disks;
pub mod doctor;
pub mod engine;
pub mod exchange;
pub mod hosts;
pub mod http;
pub mod inspect;
pub mod iscsi;
pub mod jobs;
pub mod lab;
pub mod lang;
pub mod machine;
pub mod media;
pub mod ndp;
pub mod net;
pub mod tftp;
pub mod trace;
