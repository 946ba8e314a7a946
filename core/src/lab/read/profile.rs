//! `[[firmware]]` and `[[profile]]`.

use std::path::PathBuf;

use super::fields::{Fields, Reader};
use super::text;
use crate::boot::Arch;
use crate::lab::problem::Problem;
use crate::lab::schema::{FirmwareRule, IscsiArgs, Name, Profile, ProfileKind};

const KINDS: &[(&str, ProfileKind)] = &[
    ("preseed", ProfileKind::Preseed),
    ("kickstart", ProfileKind::Kickstart),
    ("autoinstall", ProfileKind::Autoinstall),
    ("none", ProfileKind::None),
];
const ISCSI_ARGS: &[(&str, IscsiArgs)] =
    &[("debian", IscsiArgs::Debian), ("dracut", IscsiArgs::Dracut), ("none", IscsiArgs::None)];

pub(super) fn firmware(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<FirmwareRule> {
    reader.only(fields, "[[firmware]]", &["arch", "mac", "file", "https"]);
    reader.required(fields, "[[firmware]]", "file", "\"snponly.efi\"");
    let arch = arch(reader, fields);
    let mac_prefix = mac_prefix(reader, fields);
    let file = firmware_file(reader, fields, "file");
    let https = reader.boolean(fields, "https");
    if !fields.has("arch") && !fields.has("mac") {
        let line = fields.header(reader);
        reader.missing(
            line,
            "[[firmware]] does not say for which machines",
            "add arch = \"uefi-x64\", or mac = \"b8:27:eb\", or both",
        );
        return None;
    }
    // A selector that could not be read must not turn into a rule for everyone.
    if fields.has("arch") && arch.is_none() || fields.has("mac") && mac_prefix.is_none() {
        return None;
    }
    Some(FirmwareRule { arch, mac_prefix, file: file?, https })
}

fn arch(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Arch> {
    let text = reader.string(fields, "arch")?;
    one_arch(reader, text, fields.line(reader, "arch"))
}

fn one_arch(reader: &mut Reader<'_>, text: &str, line: Option<u32>) -> Option<Arch> {
    match text.parse::<Arch>() {
        Ok(arch) => Some(arch),
        Err(error) => {
            let problem = Problem::error(line, format!("`arch`: {error}"));
            reader.problem(match text::nearest(text, Arch::ALL.map(Arch::as_str)) {
                Some(near) => problem.suggest(format!("did you mean `{near}`?")),
                None => problem,
            });
            None
        }
    }
}

/// One to six bytes from the front of a hardware address.
fn mac_prefix(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Vec<u8>> {
    let text = reader.string(fields, "mac")?;
    let byte = |part: &str| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok()).flatten();
    let bytes: Option<Vec<u8>> = text.split([':', '-']).map(byte).collect();
    match bytes {
        Some(bytes) if bytes.len() <= 6 && !text.contains('+') => Some(bytes),
        _ => {
            let line = fields.line(reader, "mac");
            reader.error(
                line,
                format!("`{text}` is not the beginning of a MAC address; expected one to six bytes such as b8:27:eb"),
            );
            None
        }
    }
}

/// A boot file's name below `firmware/` or of the system's; never an absolute path.
pub(super) fn firmware_file(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<String> {
    let text = reader.string(fields, key)?;
    let line = fields.line(reader, key);
    let checked = text::path(text, "firmware").and_then(|path| match path.to_str() {
        Some(plain) if path.is_relative() => Ok(plain.to_owned()),
        _ => Err(format!("`{text}` is an absolute path; put the file into firmware/ and name it from there")),
    });
    match checked {
        Ok(name) => Some(name),
        Err(error) => {
            reader.error(line, format!("`{key}`: {error}"));
            None
        }
    }
}

pub(super) fn profile(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Profile> {
    let known = [
        "name",
        "kernel",
        "initrd",
        "args",
        "answers",
        "kind",
        "arch",
        "hypervisor",
        "hypervisor-efi",
        "hypervisor-args",
        "iscsi-args",
    ];
    reader.only(fields, "[[profile]]", &known);
    reader.required(fields, "[[profile]]", "name", "\"debian-12\"");
    reader.required(fields, "[[profile]]", "kernel", "\"debian-12/linux\"");
    let kernel = media(reader, fields, "kernel");
    let texts = reader.strings(fields, "initrd");
    let mut initrds = Vec::new();
    for (text, line) in texts {
        initrds.extend(media_text(reader, text, line, "initrd"));
    }
    let args = arguments(reader, fields, "args");
    let answers = media(reader, fields, "answers");
    let kind = reader.word(fields, "kind", KINDS);
    let mut arch = Vec::new();
    for (text, line) in reader.strings(fields, "arch") {
        arch.extend(one_arch(reader, text, line));
    }
    let hypervisor = media(reader, fields, "hypervisor");
    let hypervisor_efi = media(reader, fields, "hypervisor-efi");
    let hypervisor_args = arguments(reader, fields, "hypervisor-args");
    let iscsi_args = reader.word(fields, "iscsi-args", ISCSI_ARGS);
    if !fields.has("answers") && kind.is_some_and(|k| k != ProfileKind::None) {
        let line = fields.line(reader, "kind");
        reader.warning(line, "`kind` has no effect without `answers`");
    }
    if !fields.has("hypervisor") && !fields.has("hypervisor-efi") && fields.has("hypervisor-args") {
        let line = fields.line(reader, "hypervisor-args");
        reader.warning(line, "`hypervisor-args` has no effect without `hypervisor` or `hypervisor-efi`");
    }
    if hypervisor_efi.is_some() {
        xen_config(reader, fields, [("args", &args), ("hypervisor-args", &hypervisor_args)], initrds.len());
    }
    let name: Name = name(reader, fields, "name")?;
    Some(Profile {
        name,
        kernel: kernel?,
        initrds,
        args,
        answers,
        kind,
        arch,
        hypervisor,
        hypervisor_efi,
        hypervisor_args,
        iscsi_args,
    })
}

/// On UEFI the arguments are in Xen's configuration file, where `#` begins a comment, and which has room for one initrd.
fn xen_config(reader: &mut Reader<'_>, fields: &Fields<'_>, args: [(&str, &str); 2], initrds: usize) {
    for (key, text) in args {
        if text.contains('#') {
            let line = fields.line(reader, key);
            reader.error(line, format!("`{key}` has a `#`, at which Xen on UEFI ends; write it without"));
        }
    }
    if initrds > 1 {
        let line = fields.line(reader, "initrd");
        reader.warning(line, "Xen on UEFI takes one initrd, the first; make one file of them");
    }
}

/// A name; where it is not one, what it could be.
pub(super) fn name(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<Name> {
    let text = reader.string(fields, key)?;
    match text.parse::<Name>() {
        Ok(name) => Some(name),
        Err(error) => {
            let better: String =
                text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
            let better = better.trim_matches('-');
            let problem = Problem::error(fields.line(reader, key), format!("`{key}`: {error}"));
            reader.problem(match better.parse::<Name>() {
                Ok(better) => problem.suggest(format!("for example `{better}`")),
                Err(_) => problem,
            });
            None
        }
    }
}

fn media(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<PathBuf> {
    let text = reader.string(fields, key)?;
    media_text(reader, text, fields.line(reader, key), key)
}

fn media_text(reader: &mut Reader<'_>, text: &str, line: Option<u32>, key: &str) -> Option<PathBuf> {
    match text::path(text, "media") {
        Ok(path) => Some(path),
        Err(error) => {
            reader.error(line, format!("`{key}`: {error}"));
            None
        }
    }
}

/// Arguments become one line of a boot script.
fn arguments(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> String {
    let Some(text) = reader.string(fields, key) else { return String::new() };
    if text.chars().any(|c| c.is_control() && c != '\t') {
        let line = fields.line(reader, key);
        reader.error(line, format!("`{key}` must be one line without control characters"));
        return String::new();
    }
    text.trim().to_owned()
}
