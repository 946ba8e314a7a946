//! `bootyard import FILE… --into DIR` and `bootyard export FORMAT`: configuration comes and goes.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bootyard_core::boot::find_firmware;
use bootyard_core::exchange::export::{self, Export, ExportFormat, OutFile, Subject};
use bootyard_core::exchange::{self, Fate, Import, Options};
use bootyard_core::lab::{Folder, Lab, LabError, without_secrets};
use bootyard_core::net;
use clap::Parser;
use serde_json::json;

use super::{Failure, Outcome, output};

/// Where the export has the lab's kernels and their like, and how it has them.
const MEDIA: &str = "http/media";
const MEDIA_ARE: &str = "the lab's own files as hard links, or copies where there can be none";

/// `bootyard import dhcpd.conf install.gpxe --into lab`
#[derive(Debug, Parser)]
pub struct ImportArgs {
    /// dhcpd.conf, dnsmasq.conf, Kea's JSON, tgt's targets.conf and iPXE scripts, read as one configuration
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The folder that becomes a lab
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Say what would become of each line, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Add to the lab that is there; what it has stays as it is
    #[arg(long)]
    merge: bool,
    /// The interface that serves, where the files name none or another
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// `bootyard export dhcpd --to DIR`
#[derive(Debug, Parser)]
pub struct ExportArgs {
    /// dhcpd, dnsmasq, kea, tgt or lio
    #[arg(value_name = "FORMAT")]
    format: ExportFormat,
    /// A new folder for the configuration, the static scripts and the boot files; else the configuration is printed
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// The address of the production server, if that is not this lab's own
    #[arg(long, value_name = "ADDRESS")]
    server: Option<Ipv4Addr>,
    /// The LUN in root-paths: 1 where tgt serves the disks
    #[arg(long, value_name = "N", default_value_t = 0)]
    lun: u8,
    /// What was written, as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn import(args: &ImportArgs) -> Outcome {
    let there = args.into.join("lab.toml").exists();
    let old = if there { Some(Folder::open(&args.into)?.read_text()?) } else { None };
    // Without them dnsmasq's ranges may lack a netmask, which is told.
    let interfaces = net::interfaces().unwrap_or_default();
    let addresses = interfaces.into_iter().flat_map(|i| {
        let name = i.name;
        i.addresses.into_iter().map(move |address| (name.clone(), address))
    });
    let options = Options { interface: args.interface.clone(), into: old.as_deref(), addresses: addresses.collect() };
    let import = exchange::import(&args.files, &options)?;
    if args.json {
        output::json(&as_json(args, &import))?;
    } else {
        tell(args, &import, old.as_deref());
    }
    if args.dry_run {
        return Ok(());
    }
    if there && !args.merge {
        let text = format!(
            "{} is a lab already and was not changed; --merge adds what is listed to it, or name a new folder",
            args.into.display()
        );
        return Err(Failure::Failed(anyhow::anyhow!(text)));
    }
    write_lab(args, &import, old.as_deref())?;
    if !args.json {
        output::line(&format!(
            "{} is written; `bootyard --lab {0} check` says what it still needs",
            args.into.display()
        ));
    }
    Ok(())
}

fn write_lab(args: &ImportArgs, import: &Import, old: Option<&str>) -> Result<(), Failure> {
    let folder = if old.is_some() { Folder::open(&args.into)? } else { Folder::open_or_create(&args.into)? };
    let _lock = folder.lock()?;
    if old.is_some_and(|old| folder.read_text().ok().as_deref() != Some(old)) {
        return Err(LabError::NoEntry.into());
    }
    let text = match old {
        Some(_) => import.text.clone(),
        None => {
            let names: Vec<String> = args.files.iter().map(|f| output::safe(&f.display().to_string())).collect();
            format!("# Imported from {}.\n{}", names.join(", "), import.text)
        }
    };
    folder.write_toml(&text)?;
    Ok(())
}

fn as_json(args: &ImportArgs, import: &Import) -> serde_json::Value {
    let files: Vec<_> = import.files.iter().map(|(file, format)| json!({ "file": file, "format": format })).collect();
    json!({
        "into": args.into,
        "dry-run": args.dry_run,
        "files": files,
        "statements": import.statements,
        "needs": import.needs,
        "notes": import.notes,
        "lab": without_secrets(&import.text),
    })
}

fn tell(args: &ImportArgs, import: &Import, old: Option<&str>) {
    let word = |fate: Fate| match fate {
        Fate::Mapped => "taken over",
        Fate::Implied => "done anyway",
        Fate::Lost => "LOST",
    };
    let rows: Vec<Vec<String>> = import
        .statements
        .iter()
        .map(|s| {
            vec![format!("{}:{}", s.file.display(), s.line), word(s.fate).into(), s.text.clone(), s.because.clone()]
        })
        .collect();
    output::table(&["LINE", "", "STATEMENT", "BECAUSE"], &rows);
    let count = |fate: Fate| import.statements.iter().filter(|s| s.fate == fate).count();
    let (mapped, implied, lost) = (count(Fate::Mapped), count(Fate::Implied), count(Fate::Lost));
    output::line("");
    output::line(&format!("{mapped} statements are taken over, {implied} are done anyway, {lost} are lost"));
    for need in &import.needs {
        output::line(&output::safe(&format!("to bring: {} (was {})", args.into.join(&need.path).display(), need.from)));
    }
    for note in &import.notes {
        output::line(&output::safe(&format!("note: {note}")));
    }
    let (heading, text) = added(old, &import.text);
    output::line("");
    output::line(heading);
    for line in text.trim().lines() {
        output::line(&output::safe(&format!("    {line}")));
    }
}

/// What is new in lab.toml, without secrets; all of it where it does not follow upon the old text.
fn added(old: Option<&str>, new: &str) -> (&'static str, String) {
    match old.and_then(|old| new.strip_prefix(old)) {
        Some(rest) if rest.trim().is_empty() => ("nothing is new in lab.toml", String::new()),
        Some(rest) => ("lab.toml, what is new in it:", without_secrets(rest)),
        None => ("lab.toml:", without_secrets(new)),
    }
}

pub(super) fn export(dir: &Path, args: &ExportArgs) -> Outcome {
    let folder = Folder::open(dir)?;
    let lab = folder.read().map_err(LabError::Problems)?;
    let firmware = find_firmware(&folder.firmware());
    let place = match &args.to {
        Some(to) => std::path::absolute(to)?,
        None => PathBuf::from("/srv/bootyard"),
    };
    let subject = Subject {
        lab: &lab,
        addresses: addresses(&lab)?,
        firmware: &firmware,
        media: &folder.media(),
        disks: &folder.disks(),
        server: args.server,
        lun: args.lun,
        place: &place,
    };
    let mut export = export::export(args.format, &subject)?;
    match &args.to {
        Some(to) => {
            fresh_folder(to)?;
            for file in &export.files {
                write_file(to, file)?;
            }
            for (from, name) in &export.copies {
                if let Err(error) = bring(to, from, name) {
                    export.notes.push(format!("{}: {error:#}", name.display()));
                }
            }
            if export.copies.iter().any(|(_, name)| name.starts_with(MEDIA)) {
                export
                    .notes
                    .push(format!("{MEDIA}/ holds {MEDIA_ARE}; copy the whole folder to the production server"));
            }
            let readme = readme(args.format, &export);
            write_file(to, &readme)?;
            export.files.push(readme);
        }
        None if args.json => {}
        None => {
            let Some(first) = export.files.first() else { return Ok(()) };
            if first.secret {
                let text =
                    "it holds CHAP secrets, which are written to files of mode 0600 only; name a new folder with --to";
                return Err(Failure::Failed(anyhow::anyhow!(text)));
            }
            output::line(first.text.trim_end());
            // What is printed is the configuration alone; the rest is for people.
            for note in &export.notes {
                output::error(&output::safe(note));
            }
            return Ok(());
        }
    }
    if args.json {
        let files: Vec<_> = export.files.iter().map(|f| json!({ "path": f.path, "secret": f.secret })).collect();
        let copies: Vec<_> = export.copies.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        output::json(&json!({ "to": args.to, "files": files, "copies": copies, "notes": export.notes }))?;
        return Ok(());
    }
    for file in &export.files {
        let secret = if file.secret { " (holds secrets: mode 0600, give it to the server's own user)" } else { "" };
        output::line(&format!("{}{secret}", place.join(&file.path).display()));
    }
    for (from, name) in &export.copies {
        output::line(&output::safe(&format!("{} (from {})", place.join(name).display(), from.display())));
    }
    for note in &export.notes {
        output::line(&output::safe(&format!("note: {note}")));
    }
    Ok(())
}

/// Our address on each network: lab.toml's, else the interface's own.
fn addresses(lab: &Lab) -> anyhow::Result<Vec<Option<net::Ipv4Cidr>>> {
    let interfaces = if lab.networks.iter().all(|n| n.address.is_some()) { Vec::new() } else { net::interfaces()? };
    let of = |name: &str| interfaces.iter().find(|i| i.name == name).and_then(|i| i.addresses.first().copied());
    Ok(lab.networks.iter().map(|n| n.address.or_else(|| of(&n.interface))).collect())
}

fn fresh_folder(to: &Path) -> anyhow::Result<()> {
    let shown = to.display();
    if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        anyhow::bail!("{shown} is not empty; name a new folder, so that nothing is overwritten");
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(to)
        .with_context(|| format!("cannot make the folder {shown}"))
}

fn parents(path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))
}

fn write_file(to: &Path, file: &OutFile) -> anyhow::Result<()> {
    let path = to.join(&file.path);
    parents(&path)?;
    let mode = if file.secret { 0o600 } else { 0o644 };
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
    let written = written.and_then(|mut f| f.write_all(file.text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// What goes with the files, for whoever is given the folder.
fn readme(format: ExportFormat, export: &Export) -> OutFile {
    let mut lines = vec![format!("Written by `bootyard export {}`.", format.as_str())];
    let first = export.files.first().map(|f| f.path.display());
    lines.extend(first.map(|name| format!("{name} is the configuration; what it names is beside it.")));
    if !export.notes.is_empty() {
        lines.push("\nTo be done, and what is different from Bootyard:\n".to_owned());
    }
    lines.extend(export.notes.iter().map(|note| format!("* {}", output::safe(note))));
    let text = lines.join("\n") + "\n";
    OutFile { path: "README".into(), text, secret: false }
}

/// Boot files are copied. Kernels and their like may be large: they are hard links where the file system has them, which cost nothing and,
/// unlike symbolic ones, are whole files in every copy of the folder.
fn bring(to: &Path, from: &Path, name: &Path) -> anyhow::Result<()> {
    let path = to.join(name);
    if !from.is_file() {
        anyhow::bail!("{} is not there; bring it", from.display());
    }
    parents(&path)?;
    let from = fs::canonicalize(from)?;
    if name.starts_with(MEDIA) && fs::hard_link(&from, &path).is_ok() {
        return Ok(());
    }
    copy(&from, &path).with_context(|| format!("cannot copy {}; bring it", from.display()))
}

/// A copy that the disk has room for, or nothing.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let (size, free) = (fs::metadata(from)?.len(), net::free_space(to.parent().unwrap_or(to)));
    if let Ok((free, _)) = free
        && free < size
    {
        anyhow::bail!("it has {} MiB, and {} MiB are free", size >> 20, free >> 20);
    }
    let copied = fs::copy(from, to);
    if copied.is_err() {
        let _ = fs::remove_file(to);
    }
    copied.map(drop).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_reach_the_screen() {
        let old = "version = 1\n[[host]]\nmac = \"02:00:00:00:00:01\"\n";
        let more = "[[disk]]\nname = \"a\"\nimage = \"a.raw\"\nchap = { user = \"u\", \"secret\" = \"hunter2hunter2\" }\n\
                    [[profile]]\nname = \"p\"\nkernel = \"k\"\nargs = \"ISCSI_PASSWORD=hunter3 quiet\"\n\
                    [[host]]\nmac = \"02:00:00:00:00:02\"\n";
        let (heading, text) = added(Some(old), &format!("{old}{more}"));
        assert!(heading.contains("new in it") && !text.contains("hunter") && !text.contains("00:01"), "{text}");
        assert!(text.contains("quiet") && text.contains("[[host]]") && text.contains("00:02"), "{text}");
        let (heading, text) = added(Some("version = 1 # other\n"), &format!("{old}{more}"));
        assert!(heading == "lab.toml:" && !text.contains("hunter") && text.contains("00:01"), "{text}");
        assert_eq!(added(Some(old), old).1, "");
    }

    fn args(files: &[&Path], into: &Path, more: &[&str]) -> ImportArgs {
        let mut words = vec!["import".to_owned()];
        words.extend(files.iter().map(|f| f.display().to_string()));
        words.extend(["--into".to_owned(), into.display().to_string()]);
        words.extend(more.iter().map(|w| (*w).to_owned()));
        ImportArgs::try_parse_from(words).unwrap()
    }

    #[test]
    fn an_existing_lab_is_changed_only_when_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("dnsmasq.conf");
        fs::write(&conf, "dhcp-range=192.168.5.10,192.168.5.20,1h\ndhcp-host=02:00:00:00:00:01,one\n").unwrap();
        let lab = dir.path().join("lab");
        import(&args(&[&conf], &lab, &["--dry-run"])).unwrap();
        assert!(!lab.exists(), "a dry run made a lab");
        import(&args(&[&conf], &lab, &["--interface", "br7"])).unwrap();
        let first = fs::read_to_string(lab.join("lab.toml")).unwrap();
        assert!(first.contains("br7") && first.starts_with("# Imported from "), "{first}");

        fs::write(&conf, "dhcp-host=02:00:00:00:00:02,two\n").unwrap();
        let failure = import(&args(&[&conf], &lab, &[])).unwrap_err();
        assert!(failure.to_string().contains("--merge"), "{failure}");
        assert_eq!(fs::read_to_string(lab.join("lab.toml")).unwrap(), first);
        import(&args(&[&conf], &lab, &["--merge"])).unwrap();
        let merged = fs::read_to_string(lab.join("lab.toml")).unwrap();
        assert!(merged.starts_with(&first) && merged.contains("name = \"two\""), "{merged}");
    }

    #[test]
    fn an_export_is_whole_wherever_its_folder_is_copied() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let toml = "version = 1\n[network]\ninterface = \"br0\"\naddress = \"192.168.7.1/24\"\n\
                    [[profile]]\nname = \"p\"\nkernel = \"p/linux\"\ninitrd = [\"p/linked\", \"p/gone\"]\n";
        fs::write(dir.path().join("lab.toml"), toml).unwrap();
        let media = dir.path().join("media/p");
        fs::create_dir_all(&media).unwrap();
        fs::write(media.join("linux"), "a kernel").unwrap();
        fs::write(dir.path().join("elsewhere"), "an initrd").unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), media.join("linked")).unwrap();
        let to = dir.path().join("out");
        let path = to.display().to_string();
        export(dir.path(), &ExportArgs::try_parse_from(["export", "dnsmasq", "--to", &path]).unwrap()).unwrap();
        let there = to.join("http/media/p");
        for (name, text, own) in [("linux", "a kernel", "media/p/linux"), ("linked", "an initrd", "elsewhere")] {
            let file = fs::symlink_metadata(there.join(name)).unwrap();
            assert!(file.is_file(), "{name} is a link that a copy of the folder loses");
            assert_eq!(fs::read_to_string(there.join(name)).unwrap(), text);
            assert_eq!(file.ino(), fs::metadata(dir.path().join(own)).unwrap().ino(), "{name} takes room for nothing");
        }
        let readme = fs::read_to_string(to.join("README")).unwrap();
        for said in ["dnsmasq.conf is the configuration", MEDIA_ARE, "http/media/p/gone", "tftp-root"] {
            assert!(readme.contains(said), "{said}: {readme}");
        }
        // Where there can be no hard link, as on another file system: a copy, or nothing at all.
        copy(&media.join("linux"), &to.join("copy")).unwrap();
        assert_eq!(fs::read_to_string(to.join("copy")).unwrap(), "a kernel");
        assert!(copy(&media, &to.join("none")).is_err() && !to.join("none").exists());
    }

    #[test]
    fn an_export_overwrites_nothing_and_keeps_secrets_to_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let toml = "version = 1\n[[disk]]\nname = \"a\"\nimage = \"a.raw\"\nchap = { user = \"u\", secret = \"twelve-bytes\" }\n";
        fs::write(dir.path().join("lab.toml"), toml).unwrap();
        let to = dir.path().join("out");
        let words = |to: Option<&Path>| {
            let mut words = vec!["export".to_owned(), "tgt".to_owned()];
            words.extend(to.iter().flat_map(|t| ["--to".to_owned(), t.display().to_string()]));
            ExportArgs::try_parse_from(words).unwrap()
        };
        assert!(export(dir.path(), &words(None)).unwrap_err().to_string().contains("--to"));
        export(dir.path(), &words(Some(&to))).unwrap();
        let mode = fs::metadata(to.join("targets.conf")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(export(dir.path(), &words(Some(&to))).unwrap_err().to_string().contains("not empty"));
    }
}
