//! The fuzz targets: every reader of what comes from the network or a person's file, by the name of its corpus folder.
//!
//! Each is a plain function that must not panic. `core/tests/corpus.rs` replays the corpus through them with the other tests.

mod dhcp;
mod machines;

/// A target: whatever bytes it is given, it returns.
pub type Target = fn(&[u8]);

/// All targets; `corpus/NAME` has the seeds of each.
pub const TARGETS: &[(&str, Target)] = &[
    ("dhcp", bootyard_core::dhcp::wire::fuzz),
    ("dhcp-machine", dhcp::machine),
    ("dhcp-oracle", dhcp::oracle),
    ("exchange", bootyard_core::exchange::fuzz),
    ("http", bootyard_core::http::machine::fuzz),
    ("http-head", bootyard_core::http::head::fuzz),
    ("inspect-cpio", bootyard_core::inspect::fuzz_cpio),
    ("inspect-disk", bootyard_core::inspect::fuzz_disk),
    ("inspect-hive", bootyard_core::inspect::fuzz_hive),
    ("inspect-table", bootyard_core::inspect::fuzz_table),
    ("iscsi-machine", machines::iscsi),
    ("iscsi-wire", bootyard_core::iscsi::wire::fuzz),
    ("lab", lab),
    ("ndp", bootyard_core::ndp::wire::fuzz),
    ("pe", bootyard_core::boot::fuzz_pe),
    ("ports", bootyard_ports::wire::fuzz),
    ("tftp", bootyard_core::tftp::wire::fuzz),
    ("tftp-machine", machines::tftp),
    ("trace-file", bootyard_core::trace::fuzz_file),
    ("trace-frame", bootyard_core::trace::fuzz_frame),
];

/// Runs one target.
#[allow(clippy::panic, dead_code, reason = "a target that is not in the table is a mistake of this crate")]
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(data),
        None => panic!("there is no target {name}"),
    }
}

fn lab(data: &[u8]) {
    bootyard_core::lab::fuzz_toml(data);
    bootyard_core::lab::fuzz_edit(data);
}
