//! How the window says things: sizes, times, stages, assignments; and what a client calls itself, made harmless.

use bootyard_core::api::{HostView, JobKind, JobView, Progress, ServiceKind, Severity, Stage, Step, StepPart};
use bootyard_core::boot::Arch;
use bootyard_core::lab::{Boot, Install, InstallThen, IscsiBoot, Writes};
use bootyard_core::lang::{Language, said, spoken};
use eframe::egui::{Context, Key, KeyboardShortcut, ModifierNames};
use jiff::Timestamp;

use super::clock;
use super::lang::t;
use super::theme::Tone;

/// The longest text of a client that is shown in one piece, in characters.
pub(super) const CLIENT_TEXT: usize = 120;

/// The longest sentence, in characters: it quotes clients.
const SENTENCE: usize = 600;

/// After this many milliseconds without a sign a machine's rate is no longer shown.
const SILENT: i64 = 3000;

/// A text that came from a client: control and direction characters replaced, the length bounded.
pub(super) fn clean(text: &str) -> String {
    clean_to(text, CLIENT_TEXT)
}

/// [`clean`] with another bound, in characters.
pub(super) fn clean_to(text: &str, longest: usize) -> String {
    let mut out = String::with_capacity(text.len().min(longest * 4));
    for (at, c) in text.chars().enumerate() {
        if at == longest {
            out.push('…');
            break;
        }
        out.push(if is_hostile(c) { '?' } else { c });
    }
    out
}

/// What the engine says in a few words, in the language that is spoken, made harmless; at most this many characters.
pub(super) fn quoted(text: &str, longest: usize) -> String {
    clean_to(&said(text.trim()), longest)
}

/// A sentence of the engine in the language that is spoken, made harmless; it begins as sentences do and ends with a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut out = capital(&quoted(text, SENTENCE));
    if !out.is_empty() && !out.ends_with(['.', '!', '?', '…', ':']) {
        out.push('.');
    }
    out
}

/// With a capital at its beginning, unless a name is there.
pub(super) fn capital(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default().trim_end_matches([',', ':', ';', '.', '?', '!']);
    let mut rest = text.chars();
    let first = rest.next().filter(|_| word.chars().all(char::is_lowercase));
    first.map_or_else(|| text.to_owned(), |first| first.to_uppercase().chain(rest).collect())
}

/// Control characters, line ends, and what reorders or hides the text around it.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// A number with its unit, its decimal point as the language that is spoken has it.
fn decimal(english: &str) -> String {
    match spoken() {
        Language::English => english.to_owned(),
        Language::German => english.replace('.', ","),
    }
}

/// A number as it was typed, with the decimal point that programs read.
pub(super) fn with_point(typed: &str) -> String {
    match spoken() {
        Language::English => typed.to_owned(),
        Language::German => typed.replace(',', "."),
    }
}

/// A key as it is written on the keyboards of those who speak the language: `Ctrl+K`.
pub(super) fn shortcut(ctx: &Context, shortcut: &KeyboardShortcut) -> String {
    if ctx.os().is_mac() {
        return ctx.format_shortcut(shortcut);
    }
    let names = ModifierNames { ctrl: t!("Ctrl"), shift: t!("Shift"), ..ModifierNames::NAMES };
    let text = shortcut.format(&names, false);
    match shortcut.logical_key {
        Key::Delete => text.replace(Key::Delete.name(), t!("Del")),
        Key::Enter => text.replace(Key::Enter.name(), t!("Enter")),
        Key::Comma => text.replace(Key::Comma.name(), ","),
        _ => text,
    }
}

/// Bytes with a binary unit: `1.5 GiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    // Precision beyond 2^53 does not show in three digits.
    #[allow(clippy::cast_precision_loss)]
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or("PiB");
    if value < 10.0 { decimal(&format!("{value:.1} {unit}")) } else { format!("{value:.0} {unit}") }
}

/// Seconds as a person says them: `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub(super) fn seconds(s: i64) -> String {
    let s = s.max(0);
    match s {
        0..60 => format!("{s} s"),
        60..600 => format!("{} min {} s", s / 60, s % 60),
        600..3600 => format!("{} min", s / 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// How long a step took, with milliseconds while they matter.
pub(super) fn span(millis: i64) -> String {
    let millis = millis.max(0);
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..60_000 => decimal(&format!("{}.{} s", millis / 1000, millis % 1000 / 100)),
        _ => seconds(millis / 1000),
    }
}

/// Time of day here, `14:03:07`.
pub(super) fn clock(at: Timestamp) -> String {
    at.to_zoned(clock::zone()).strftime("%H:%M:%S").to_string()
}

/// The same with milliseconds, `14:03:07.250`.
pub(super) fn clock_millis(at: Timestamp) -> String {
    at.to_zoned(clock::zone()).strftime("%H:%M:%S%.3f").to_string()
}

/// Milliseconds from `start` to `end`.
pub(super) fn millis_between(start: Timestamp, end: Timestamp) -> i64 {
    i64::try_from(end.duration_since(start).as_millis()).unwrap_or(i64::MAX)
}

/// `212 of 340 MiB at 38 MiB/s, 4 s left`, as far as it is known.
pub(super) fn progress(p: &Progress) -> String {
    let far =
        if p.total > 0 { t!("{done} of {total}", done = bytes(p.done), total = bytes(p.total)) } else { bytes(p.done) };
    if p.rate == 0 {
        return far;
    }
    let rate = bytes(p.rate);
    match seconds_left(p) {
        Some(left) => t!("{far} at {rate}/s, {left} left", far = far, rate = rate, left = seconds(left)),
        None => t!("{far} at {rate}/s", far = far, rate = rate),
    }
}

/// How far a job is. A self-test counts what it tried; all others count bytes.
pub(super) fn job(job: &JobView) -> String {
    match job.kind {
        JobKind::SelfTest => t!("{done} of {total} tried", done = job.progress.done, total = job.progress.total),
        _ => progress(&job.progress),
    }
}

/// What a job did in all.
pub(super) fn job_done(job: &JobView) -> String {
    match job.kind {
        JobKind::SelfTest => t!("{done} tried", done = job.progress.done),
        _ => bytes(job.progress.done),
    }
}

/// How far a machine's transfer is now: its last rate, and the time that would be left at it, are no longer true when it is silent.
pub(super) fn progress_now(host: &HostView, now: Timestamp) -> Option<Progress> {
    let p = host.progress.as_ref()?;
    Some(Progress { rate: if is_silent(host, now) { 0 } else { p.rate }, ..*p })
}

/// Whether nothing came of it for some seconds.
pub(super) fn is_silent(host: &HostView, now: Timestamp) -> bool {
    host.last_seen.is_some_and(|seen| millis_between(seen, now) > SILENT)
}

/// Seconds until it is done at this rate.
pub(super) fn seconds_left(p: &Progress) -> Option<i64> {
    if p.total == 0 || p.done >= p.total {
        return None;
    }
    let left = (p.total - p.done).checked_div(p.rate)?;
    i64::try_from(left.max(1)).ok()
}

/// Done, from 0 to 1; `None` without a total.
pub(super) fn fraction(p: &Progress) -> Option<f32> {
    // A bar has fewer pixels than f32 has digits.
    #[allow(clippy::cast_precision_loss)]
    (p.total > 0).then(|| (p.done as f32 / p.total as f32).clamp(0.0, 1.0))
}

/// What a machine is called: its name, else its hardware address.
pub(super) fn host_name(host: &HostView) -> String {
    match (&host.name, host.macs.first()) {
        (Some(name), _) if !name.trim().is_empty() => clean_to(name, 40),
        (_, Some(mac)) => mac.to_string(),
        _ => t!("machine {id}", id = host.id),
    }
}

/// Whether somebody, or it itself, gave it a name.
pub(super) fn is_named(host: &HostView) -> bool {
    host.name.as_ref().is_some_and(|n| !n.trim().is_empty())
}

/// Its manufacturer and model as its firmware names them, without saying the same word twice.
pub(super) fn host_model(host: &HostView) -> Option<String> {
    let text = |t: &Option<String>| t.as_deref().map(|t| clean_to(t.trim(), 60)).filter(|t| !t.is_empty());
    match (text(&host.manufacturer), text(&host.product)) {
        (Some(maker), Some(product)) if product.to_lowercase().starts_with(&maker.to_lowercase()) => Some(product),
        (Some(maker), Some(product)) => Some(format!("{maker} {product}")),
        (maker, product) => product.or(maker),
    }
}

/// Its first hardware address.
pub(super) fn host_mac(host: &HostView) -> String {
    host.macs.first().map(ToString::to_string).unwrap_or_default()
}

/// When its boot began.
pub(super) fn boot_began(host: &HostView) -> Option<Timestamp> {
    host.timeline.first().map(|step| step.start).filter(|_| host.stage != Stage::Absent)
}

/// A stage in one or two words.
pub(super) fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Absent => t!("Absent"),
        Stage::Seen => t!("Seen"),
        Stage::Addressed => t!("Addressed"),
        Stage::Firmware => t!("Firmware"),
        Stage::Ipxe => "iPXE",
        Stage::Script => t!("Script"),
        Stage::Waiting => t!("Waiting"),
        Stage::Loading => t!("Loading"),
        Stage::SanLogin => t!("Disk login"),
        Stage::OsStarted => t!("OS started"),
        Stage::OsLogin => t!("OS on disk"),
        Stage::Installing => t!("Installing"),
        Stage::Local => t!("Local disk"),
        Stage::Running => t!("Running"),
        Stage::Failed => t!("Failed"),
    }
}

/// A step of a timeline in a word or two: what of its stage it is, where that is known.
pub(super) fn step(step: &Step) -> &'static str {
    match step.part {
        Some(StepPart::Hypervisor) => t!("Hypervisor"),
        Some(StepPart::Kernel) => t!("Kernel"),
        Some(StepPart::Initrd) => t!("Initrd"),
        Some(StepPart::SystemAddress) => t!("OS address"),
        None => stage(step.stage),
    }
}

/// What a stage means, for a tooltip.
pub(super) fn stage_meaning(stage: Stage) -> &'static str {
    match stage {
        Stage::Absent => t!("Known, but not seen since the engine started"),
        Stage::Seen => t!("A first packet came"),
        Stage::Addressed => t!("It holds an address"),
        Stage::Firmware => t!("Its firmware fetches the boot file"),
        Stage::Ipxe => t!("iPXE runs and asks for its script"),
        Stage::Script => t!("iPXE has its script"),
        Stage::Waiting => t!("It waits at its screen for an assignment"),
        Stage::Loading => t!("It loads kernel and initrds"),
        Stage::SanLogin => t!("Its firmware is logged in to its disk"),
        Stage::OsStarted => t!("The kernel was started"),
        Stage::OsLogin => t!("The operating system is logged in to its disk"),
        Stage::Installing => t!("The installer works"),
        Stage::Local => t!("It boots its local disk; no more is seen of it"),
        Stage::Running => t!("The operating system runs"),
        Stage::Failed => t!("It stopped; its findings say why"),
    }
}

/// A stage's colour.
pub(super) fn stage_tone(stage: Stage) -> Tone {
    match stage {
        Stage::Absent | Stage::Local => Tone::Quiet,
        Stage::Waiting => Tone::Ask,
        Stage::Running | Stage::OsLogin => Tone::Good,
        Stage::Failed => Tone::Bad,
        _ => Tone::Busy,
    }
}

/// Whether the time at this stage is shown, and goes on.
pub(super) fn is_active(stage: Stage) -> bool {
    stage != Stage::Absent
}

/// A severity's colour.
pub(super) fn severity_tone(severity: Severity) -> Tone {
    match severity {
        Severity::Debug => Tone::Quiet,
        Severity::Info => Tone::Busy,
        Severity::Warning => Tone::Warn,
        Severity::Error => Tone::Bad,
    }
}

/// A severity's word.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug => t!("Detail"),
        Severity::Info => t!("Step"),
        Severity::Warning => t!("Warning"),
        Severity::Error => t!("Error"),
    }
}

/// An assignment as the machine's cell shows it.
pub(super) fn boot(boot: &Boot) -> String {
    match boot {
        Boot::Local => t!("Local disk").into(),
        Boot::Wait => t!("Wait").into(),
        Boot::Menu => t!("Menu").into(),
        Boot::Ignore => t!("Ignore").into(),
        Boot::Iscsi(IscsiBoot { disk, profile, writes, .. }) => {
            // What is special about it must fit into the cell.
            let text = match (profile, writes) {
                (None, None) => t!("Disk {disk}", disk = disk),
                (Some(profile), None) => t!("Disk {disk} with {profile}", disk = disk, profile = profile),
                (None, Some(_)) => disk.to_string(),
                (Some(profile), Some(_)) => t!("{disk} with {profile}", disk = disk, profile = profile),
            };
            own_writes(text, *writes)
        }
        Boot::Install(Install { profile, then: InstallThen::Local }) => t!("Install {profile}", profile = profile),
        Boot::Install(Install { profile, then: InstallThen::Iscsi(iscsi) }) => {
            let text = t!("Install {profile}, then disk {disk}", profile = profile, disk = iscsi.disk);
            own_writes(text, iscsi.writes)
        }
    }
}

/// What an assignment does, in a sentence without its full stop.
pub(super) fn boot_meaning(boot: &Boot) -> String {
    match boot {
        Boot::Local => t!("It boots from its own disk").into(),
        Boot::Wait => t!("It waits at its screen until somebody gives it something").into(),
        Boot::Menu => t!("It shows a menu at its screen").into(),
        Boot::Ignore => t!("It is listed and never answered").into(),
        Boot::Iscsi(IscsiBoot { disk, profile, writes, .. }) => {
            let text = match profile {
                None => t!("It boots from the disk {disk} over iSCSI", disk = disk),
                Some(profile) => t!(
                    "It starts the kernel of {profile} over HTTP, its root on the disk {disk} over iSCSI",
                    profile = profile,
                    disk = disk
                ),
            };
            own_writes_meaning(text, *writes)
        }
        Boot::Install(Install { profile, then: InstallThen::Local }) => {
            t!("It is installed with {profile}, which erases its disk, and then boots from it", profile = profile)
        }
        Boot::Install(Install { profile, then: InstallThen::Iscsi(iscsi) }) => {
            let text = t!(
                "It is installed with {profile} and then boots from the disk {disk}",
                profile = profile,
                disk = iscsi.disk
            );
            own_writes_meaning(text, iscsi.writes)
        }
    }
}

/// What a machine's own setting for its writes, instead of the disk's, adds to an assignment.
fn own_writes(text: String, writes: Option<Writes>) -> String {
    match writes {
        None => text,
        Some(Writes::Keep) => t!("{boot} (maintenance)", boot = text),
        Some(Writes::Fresh) => t!("{boot} (new at each boot)", boot = text),
        Some(Writes::Image) => t!("{boot} (into the image)", boot = text),
    }
}

fn own_writes_meaning(text: String, writes: Option<Writes>) -> String {
    match writes {
        None => text,
        Some(Writes::Keep) => {
            t!("{boot} and keeps what it changes; that can be committed to the image", boot = text)
        }
        Some(Writes::Fresh) => t!("{boot} and starts anew at every boot", boot = text),
        Some(Writes::Image) => t!("{boot} and writes into the image itself", boot = text),
    }
}

/// An architecture.
pub(super) fn arch(arch: Arch) -> &'static str {
    match arch {
        Arch::Bios => "BIOS",
        Arch::UefiIa32 => "UEFI IA32",
        Arch::UefiX64 => "UEFI x64",
        Arch::UefiArm32 => "UEFI ARM32",
        Arch::UefiArm64 => "UEFI ARM64",
        Arch::BiosHttp => "BIOS HTTP",
        Arch::UefiIa32Http => "UEFI IA32 HTTP",
        Arch::UefiX64Http => "UEFI x64 HTTP",
        Arch::UefiArm32Http => "UEFI ARM32 HTTP",
        Arch::UefiArm64Http => "UEFI ARM64 HTTP",
        Arch::UefiRiscv32 => "UEFI RISC-V 32",
        Arch::UefiRiscv64 => "UEFI RISC-V 64",
        Arch::UefiLoong32 => "UEFI LoongArch 32",
        Arch::UefiLoong64 => "UEFI LoongArch 64",
        Arch::UefiRiscv32Http => "UEFI RISC-V 32 HTTP",
        Arch::UefiRiscv64Http => "UEFI RISC-V 64 HTTP",
        Arch::UefiLoong32Http => "UEFI LoongArch 32 HTTP",
        Arch::UefiLoong64Http => "UEFI LoongArch 64 HTTP",
        Arch::RaspberryPi => "Raspberry Pi",
    }
}

/// A service.
pub(super) fn service(service: ServiceKind) -> &'static str {
    match service {
        ServiceKind::Dhcp => "DHCP",
        ServiceKind::Pxe => "PXE",
        ServiceKind::Ndp => "NDP",
        ServiceKind::Tftp => "TFTP",
        ServiceKind::Http => "HTTP",
        ServiceKind::Https => "HTTPS",
        ServiceKind::Iscsi => "iSCSI",
    }
}

/// Where a disk's writes go, in a word.
pub(super) fn writes(writes: Writes) -> &'static str {
    match writes {
        Writes::Keep => t!("Keep"),
        Writes::Fresh => t!("Fresh"),
        Writes::Image => t!("Image"),
    }
}

/// Where a disk's writes go, in a sentence.
pub(super) fn writes_meaning(writes: Writes) -> &'static str {
    match writes {
        Writes::Keep => t!("Each machine keeps its own changes; the image stays as it is"),
        Writes::Fresh => t!("Each machine starts anew at every boot; the image stays as it is"),
        Writes::Image => t!("Changes go into the image itself; one machine at a time"),
    }
}

/// A DHCP mode in force.
pub(super) fn mode(mode: &str) -> &'static str {
    match mode {
        "dhcp" => t!("DHCP server"),
        "proxy" => "ProxyDHCP",
        _ => t!("Automatic"),
    }
}

/// Names in a row: the first few, then how many more.
pub(super) fn names(list: &[String], most: usize) -> String {
    let shown: Vec<String> = list.iter().take(most).map(|n| clean_to(n, 40)).collect();
    let more = list.len().saturating_sub(most);
    let shown = shown.join(", ");
    if more == 0 { shown } else { t!("{names} and {more} more", names = shown, more = more) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_cannot_break_or_turn_the_text_around_it() {
        assert_eq!(clean("pc\n01\u{1b}[2J"), "pc?01?[2J");
        assert_eq!(clean("a\u{202e}b\u{200b}"), "a?b?");
        assert_eq!(clean_to("abcdef", 3), "abc…");
        assert_eq!(clean("Zürich-端末"), "Zürich-端末");
    }

    #[test]
    fn a_sentence_begins_with_a_capital_unless_with_a_name() {
        assert_eq!(sentence("the interface br0 has no address"), "The interface br0 has no address.");
        assert_eq!(sentence("lab.toml is broken."), "lab.toml is broken.");
        assert_eq!(sentence("eth0 is gone; plug it in"), "eth0 is gone; plug it in.");
        assert_eq!(sentence("iPXE stopped"), "iPXE stopped.");
        assert_eq!(sentence("why?"), "Why?");
        assert_eq!(sentence("a\nb"), "a?b.");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn sizes_and_times_read_as_a_person_says_them() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(bytes(32 << 30), "32 GiB");
        assert_eq!(bytes(u64::MAX), "16384 PiB");
        assert_eq!(seconds(-3), "0 s");
        assert_eq!(seconds(185), "3 min 5 s");
        assert_eq!(seconds(7800), "2 h 10 min");
        assert_eq!(span(940), "940 ms");
        assert_eq!(span(2340), "2.3 s");
    }

    #[test]
    fn a_machine_with_writes_of_its_own_is_told_from_the_others() {
        use bootyard_core::lab::{IscsiBoot, IscsiVia};
        let on = |writes| {
            let disk = "lab".parse().unwrap();
            boot(&Boot::Iscsi(IscsiBoot { disk, profile: None, via: IscsiVia::Script, writes }))
        };
        assert_eq!(on(None), "Disk lab");
        assert_eq!(on(Some(Writes::Keep)), "lab (maintenance)");
        assert_eq!(on(Some(Writes::Fresh)), "lab (new at each boot)");
        assert_eq!(on(Some(Writes::Image)), "lab (into the image)");
    }

    #[test]
    fn progress_says_no_more_than_is_known() {
        assert_eq!(progress(&Progress { done: 2048, total: 0, rate: 0 }), "2.0 KiB");
        let p = Progress { done: 10 << 20, total: 30 << 20, rate: 10 << 20 };
        assert_eq!(progress(&p), "10 MiB of 30 MiB at 10 MiB/s, 2 s left");
        assert_eq!(seconds_left(&Progress { done: 5, total: 4, rate: 1 }), None);
    }
}
