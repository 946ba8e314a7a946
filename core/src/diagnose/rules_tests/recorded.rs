//! Recordings of whole-program boots of QEMU's firmware: the events as they were told. Those of healthy boots are in `healthy`; here is
//! what the tests `firmware_findings` provoked, up to the boot that was well again.

use super::tale::Tale;
use crate::api::Event;

/// What was provoked, what was told of it in this order, and the events.
const PROVOKED: [(&str, &[&str], &str); 6] = [
    (
        "a BIOS meets closed ports and a wrong secret",
        &["port-closed", "iscsi-refused", "script-error"],
        include_str!("../recorded/firmware-ports.jsonl"),
    ),
    (
        "a BIOS meets a missing kernel, then goes round",
        &["http-refused", "script-error", "reinstall-loop"],
        include_str!("../recorded/firmware-round.jsonl"),
    ),
    (
        "UEFI with a program that does not fit, and TFTP closed",
        &["boot-file-unfit", "tftp-unheard"],
        include_str!("../recorded/firmware-tftp.jsonl"),
    ),
    (
        "a BIOS takes another server's address",
        &["second-dhcp", "took-other-offer"],
        include_str!("../recorded/firmware-second.jsonl"),
    ),
    (
        "UEFI is misled by another server; its boot server's port is closed",
        &["other-boot-file", "tftp-failed", "nbp-not-started", "boot-server-unheard"],
        include_str!("../recorded/firmware-files.jsonl"),
    ),
    ("UEFI does not hear one style of offer", &["offer-ignored"], include_str!("../recorded/firmware-style.jsonl")),
];

/// A recording as a tale, with two hours of silence behind it.
pub(super) fn tale(text: &str) -> Tale {
    let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let start = events[0].time;
    let at = |event: &Event| u64::try_from(event.time.duration_since(start).as_millis()).unwrap();
    let tale = events.iter().fold(Tale::at(0), |tale, event| tale.exactly(at(event), event.kind.clone()));
    tale.silence(7_200_000)
}

#[test]
fn what_firmware_did_is_told_and_forgotten_as_it_was() {
    for (name, expected, text) in PROVOKED {
        let tale = tale(text);
        let mut told: Vec<String> = Vec::new();
        for (_, finding) in tale.every_finding() {
            if !told.contains(&finding.id) {
                told.push(finding.id);
            }
        }
        assert_eq!(told, expected, "{name}");
        let left: Vec<String> = tale.findings().into_iter().map(|finding| finding.id).collect();
        assert_eq!(left, Vec::<String>::new(), "{name}: it was well in the end");
    }
}
