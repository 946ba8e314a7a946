//! Everything that is wrong with a lab: lab.toml, then the files that it names, then this computer. Changes nothing.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::Folder;
use super::problem::Problem;
use super::read::{Lines, Reading, nearest, range_problems, read};
use super::schema::{Boot, Disk, Host, Lab, Mode, Network, Writes};
use crate::boot::{Arch, Firmware, find_firmware, firmware_remedy};
use crate::disks::{DiskError, Store};
use crate::inspect::{InspectionCache, inspect, record_of};
use crate::net::{Interface, Ipv4Cidr};

/// Every problem of the lab, in the order of lines; `interfaces` are this computer's. Whether the lab can be served is
/// [`Folder::read`]'s to say: a missing image is an error here, and only its own hosts fail.
#[must_use]
pub fn check(folder: &Folder, interfaces: &[Interface]) -> Vec<Problem> {
    let (reading, mut found) = (folder.reading(), Vec::new());
    let boot_files = find_firmware(&folder.firmware());
    entries(folder, &reading, &boot_files, interfaces, &mut found);
    missing_firmware(&boot_files, &reading, &mut found);
    // Reads images, where that was not done before.
    taken_kernels(folder, &reading, &mut found);
    sorted(folder, reading, found)
}

/// The same without what is said of no entry: architectures that have no boot file, and lab.toml's own mode.
#[must_use]
pub fn check_entries(folder: &Folder, interfaces: &[Interface]) -> Vec<Problem> {
    let (mut reading, mut found) = (folder.reading(), Vec::new());
    if let Some(exposed) = folder.exposed(&reading.lab) {
        reading.problems.retain(|p| p.message != exposed.message);
    }
    entries(folder, &reading, &find_firmware(&folder.firmware()), interfaces, &mut found);
    sorted(folder, reading, found)
}

fn entries(
    folder: &Folder,
    reading: &Reading,
    boot_files: &Firmware,
    interfaces: &[Interface],
    found: &mut Vec<Problem>,
) {
    files(folder, reading, found);
    written_images(folder, reading, found);
    named_files(boot_files, reading, found);
    networks(reading, interfaces, found);
}

fn sorted(folder: &Folder, reading: Reading, found: Vec<Problem>) -> Vec<Problem> {
    let toml = folder.toml();
    let mut problems = reading.problems;
    problems.extend(found.into_iter().map(|p| p.of(&toml)));
    problems.sort_by_key(|p| (p.line.is_none(), p.line));
    problems
}

/// What lab.toml says of networks and addresses that this computer's interfaces contradict: on that nothing can be served. Errors only.
#[must_use]
pub fn check_networks(folder: &Folder, interfaces: &[Interface]) -> Vec<Problem> {
    let mut found = Vec::new();
    networks(&folder.reading(), interfaces, &mut found);
    let toml = folder.toml();
    found.into_iter().filter(Problem::is_error).map(|p| p.of(&toml)).collect()
}

/// What a lab.toml that is not written yet says of networks and addresses that this computer's interfaces contradict; `with_files`: and
/// of boot files that are not there.
pub(super) fn check_changed(folder: &Folder, text: &str, interfaces: &[Interface], with_files: bool) -> Vec<Problem> {
    let (reading, mut found) = (read(text), Vec::new());
    networks(&reading, interfaces, &mut found);
    if with_files {
        named_files(&find_firmware(&folder.firmware()), &reading, &mut found);
    }
    found
}

fn files(folder: &Folder, reading: &Reading, out: &mut Vec<Problem>) {
    let media = folder.media();
    for (disk, lines) in reading.lab.disks.iter().zip(&reading.lines.disks) {
        // It is served elsewhere; the image may have gone there, too.
        if disk.redirect.is_some() {
            continue;
        }
        let line = lines.of("image");
        let path = disks_image(folder, disk);
        let size = match readable(&path, true) {
            Ok(size) => size,
            Err(error) => {
                let problem = Problem::error(line, format!("disk {}: the image {error}", disk.name));
                // A disk that stands in lab.toml is nothing that `disks create` and `disks import` could make.
                let advice = "bring its raw image there (`qemu-img convert -O raw` makes one of other formats, `truncate -s 20G` an empty one)";
                out.push(problem.suggest(advice));
                continue;
            }
        };
        if let (Some(has), Some(wanted)) = (size, disk.size)
            && wanted < has
        {
            let text = format!("disk {}: `size` is {wanted} bytes and the image has {has}; disks only grow", disk.name);
            out.push(Problem::warning(lines.of("size"), text).suggest("remove `size`, or make it larger"));
        }
        if let Some(size) = size.filter(|s| s % 512 != 0) {
            out.push(
                Problem::error(
                    line,
                    format!("disk {}: the image has {size} bytes, which is no multiple of 512", disk.name),
                )
                .suggest("it is cut off, or not a raw image; import it again"),
            );
        }
    }
    for (profile, lines) in reading.lab.profiles.iter().zip(&reading.lines.profiles) {
        let one = |key: &'static str, path: &Path| (key, path.to_owned());
        let named = std::iter::once(one("kernel", &profile.kernel))
            .chain(profile.initrds.iter().map(|p| one("initrd", p)))
            .chain(profile.answers.iter().map(|p| one("answers", p)))
            .chain(profile.hypervisor.iter().map(|p| one("hypervisor", p)))
            .chain(profile.hypervisor_efi.iter().map(|p| one("hypervisor-efi", p)));
        for (key, path) in named {
            if let Err(error) = readable(&media.join(path), false) {
                out.push(Problem::error(lines.of(key), format!("profile {}: {key} {error}", profile.name)));
            }
        }
    }
}

/// Images that a host is to write itself although overlays stand on them: its login will be refused.
fn written_images(folder: &Folder, reading: &Reading, out: &mut Vec<Problem>) {
    let store = Store::new(folder.disks());
    for (disk, lines) in reading.lab.disks.iter().zip(&reading.lines.disks) {
        let host = |host: &Host| match &host.boot {
            Some(Boot::Iscsi(boot)) => boot.disk == disk.name && boot.writes == Some(Writes::Image),
            _ => false,
        };
        let by_host = reading.lab.hosts.iter().zip(&reading.lines.hosts).find(|(h, _)| host(h));
        let line = match by_host {
            _ if disk.writes == Writes::Image => lines.of("writes"),
            Some((_, lines)) => lines.of("boot"),
            None => continue,
        };
        if let Err(error @ DiskError::HasOverlays { .. }) =
            store.refuse_under_overlays(&disks_image(folder, disk), disk)
        {
            out.push(Problem::warning(line, format!("disk {}: {error}", disk.name)));
        }
    }
}

/// Kernels that were taken out of images which would start others by now.
fn taken_kernels(folder: &Folder, reading: &Reading, out: &mut Vec<Problem>) {
    let store = Store::new(folder.disks());
    let cache = InspectionCache::new(store.dir());
    for (profile, lines) in reading.lab.profiles.iter().zip(&reading.lines.profiles) {
        let Some(record) = record_of(&folder.media(), &profile.name).filter(|r| r.host.is_none()) else { continue };
        let Some(disk) = reading.lab.disks.iter().find(|d| d.name.as_str() == record.disk) else { continue };
        let known = cache.get(&disk.name, &store.image_path(disk), store.generation(disk));
        let look = || store.peek(disk, None).ok().and_then(|device| inspect(device, &Arc::default()).ok());
        if let Some(stale) = known.or_else(look).and_then(|found| record.stale(&found)) {
            out.push(Problem::warning(lines.of("kernel"), stale.said(&record, &profile.name)));
        }
    }
}

fn disks_image(folder: &Folder, disk: &Disk) -> PathBuf {
    folder.disks().join(&disk.image)
}

/// The size of a file that can be served; `None` for a block device. The error goes on after the thing's name.
fn readable(path: &Path, device: bool) -> Result<Option<u64>, String> {
    let shown = path.display();
    let meta = fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => format!("{shown} does not exist"),
        _ => format!("{shown} cannot be opened: {e}"),
    })?;
    if device && meta.file_type().is_block_device() {
        return Ok(None);
    }
    if !meta.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    File::open(path).map_err(|e| format!("{shown} cannot be opened: {e}"))?;
    if meta.len() == 0 {
        return Err(format!("{shown} is empty"));
    }
    Ok(Some(meta.len()))
}

fn named_files(found: &Firmware, reading: &Reading, out: &mut Vec<Problem>) {
    for (rule, lines) in reading.lab.firmware.iter().zip(&reading.lines.firmware) {
        out.extend(named_firmware(found, &rule.file, lines.of("file")));
        let made_for = found.runs_on.get(&rule.file);
        if let (Some(made_for), Some(arch)) = (made_for, rule.arch.map(Arch::without_http))
            && *made_for != arch
        {
            let text =
                format!("`{}` runs on {made_for}, and this rule is for {arch}: no machine is given it", rule.file);
            out.push(Problem::error(lines.of("file"), text).suggest("name a file for that architecture"));
        }
    }
    for (host, lines) in reading.lab.hosts.iter().zip(&reading.lines.hosts) {
        if let Some(name) = &host.firmware {
            out.extend(named_firmware(found, name, lines.of("firmware")));
        }
    }
}

fn missing_firmware(found: &Firmware, reading: &Reading, out: &mut Vec<Problem>) {
    let named = |arch: Arch| {
        let rules = reading.lab.firmware.iter().filter_map(|r| r.arch);
        let profiles = reading.lab.profiles.iter().flat_map(|p| p.arch.iter().copied());
        rules.chain(profiles).any(|a| a.without_http() == arch)
    };
    for arch in [Arch::Bios, Arch::UefiX64, Arch::UefiIa32, Arch::UefiArm64, Arch::UefiArm32] {
        // Few boards have it: only who names it is told.
        let rare = arch == Arch::UefiArm32;
        if !found.by_arch.contains_key(&arch) && (!rare || named(arch)) {
            let problem = Problem::warning(None, format!("{arch} machines cannot boot: there is no iPXE for them"));
            out.push(problem.suggest(firmware_remedy(arch)));
        }
    }
}

fn named_firmware(found: &Firmware, name: &str, line: Option<u32>) -> Option<Problem> {
    if found.files.contains_key(name) {
        return None;
    }
    let problem = Problem::error(line, format!("there is no boot file `{name}` in firmware/ or the system's"));
    Some(match nearest(name, found.files.keys().map(String::as_str)) {
        Some(near) => problem.suggest(format!("did you mean `{near}`?")),
        None => problem.suggest("put it into firmware/"),
    })
}

fn networks(reading: &Reading, interfaces: &[Interface], out: &mut Vec<Problem>) {
    let lab = &reading.lab;
    for (network, lines) in lab.networks.iter().zip(&reading.lines.networks) {
        let Some(interface) = interfaces.iter().find(|i| i.name == network.interface) else {
            let names = interfaces.iter().filter(|i| !i.virtual_link).map(|i| i.name.as_str());
            let list = names.collect::<Vec<_>>().join(", ");
            let problem = Problem::warning(
                lines.of("interface"),
                format!("this computer has no interface `{}`", network.interface),
            );
            out.push(if list.is_empty() { problem } else { problem.suggest(format!("it has {list}")) });
            continue;
        };
        on_interface(network, lines, interface, out);
    }
    addresses(lab, &reading.lines.hosts, interfaces, out);
}

fn on_interface(network: &Network, lines: &Lines, interface: &Interface, out: &mut Vec<Problem>) {
    let own = &interface.addresses;
    let Some(first) = own.first().copied() else {
        if network.address.is_none() {
            out.push(
                Problem::warning(lines.of("interface"), format!("{} has no IPv4 address", interface.name))
                    .suggest("add address = \"192.168.7.1/24\" or the like, to have one while serving"),
            );
        }
        return;
    };
    if let Some(address) = network.address.filter(|a| !own.iter().any(|o| o.address == a.address)) {
        out.push(Problem::warning(
            lines.of("address"),
            format!("`address` {address} is not used: {} has {first} already", interface.name),
        ));
    }
    if network.mode == Mode::Proxy {
        return;
    }
    for range in &network.ranges {
        let net = own.iter().copied().find(|o| o.contains(range.first())).unwrap_or(first);
        out.extend(range_problems(net, &[*range], lines.of("range")).into_iter().map(|mut p| {
            p.message = format!("{} ({}'s own subnet)", p.message, interface.name);
            p
        }));
    }
    if let Some(router) = network.router.filter(|r| !own.iter().any(|o| o.contains(*r))) {
        out.push(Problem::error(
            lines.of("router"),
            format!("the router {router} is in no subnet of {}: machines there could not reach it", interface.name),
        ));
    }
}

/// Reserved addresses, where the interfaces tell what lab.toml alone does not.
fn addresses(lab: &Lab, lines: &[Lines], interfaces: &[Interface], out: &mut Vec<Problem>) {
    let mut subnets: Vec<Ipv4Cidr> = Vec::new();
    let mut own: Vec<Ipv4Addr> = Vec::new();
    for network in &lab.networks {
        let on = interfaces.iter().find(|i| i.name == network.interface).filter(|i| !i.addresses.is_empty());
        match (on, network.address) {
            (Some(interface), _) => {
                subnets.extend(&interface.addresses);
                own.extend(interface.addresses.iter().map(|a| a.address));
            }
            // lab.toml tells it, and reading it has compared already.
            (None, Some(address)) => subnets.push(address),
            // Nobody knows this subnet yet.
            (None, None) => return,
        }
        subnets.extend(network.subnets.iter().map(|s| s.subnet));
    }
    if own.is_empty() {
        return;
    }
    for (host, lines) in lab.hosts.iter().zip(lines) {
        let Some(address) = host.address else { continue };
        if own.contains(&address) {
            out.push(Problem::error(lines.of("address"), format!("{address} is this computer's own address")));
        } else if !subnets.iter().any(|s| s.contains(address)) {
            let list: Vec<_> =
                subnets.iter().map(|s| Ipv4Cidr { address: s.network(), prefix: s.prefix }.to_string()).collect();
            out.push(Problem::error(
                lines.of("address"),
                format!("{address} is in none of the subnets that are served ({})", list.join(", ")),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::interface;

    /// What check says of lines of lab.toml, without the file's name; what has no line is about this computer.
    fn told(folder: &Folder, interfaces: &[Interface]) -> Vec<String> {
        let before = format!("{}:", folder.toml().display());
        let problems = check(folder, interfaces).into_iter().filter(|p| p.line.is_some());
        problems.map(|p| p.to_string().strip_prefix(&before).unwrap().to_owned()).collect()
    }

    fn lab(text: &str) -> (tempfile::TempDir, Folder) {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(temp.path()).unwrap();
        folder.write_toml(&format!("version = 1\n{text}")).unwrap();
        (temp, folder)
    }

    #[test]
    fn files_that_are_missing_empty_or_cut_off_are_told_with_their_line() {
        let (_temp, folder) = lab("[[disk]]\nname='a'\nimage='a.raw'\n[[disk]]\nname='b'\nimage='b.raw'\n\
             [[disk]]\nname='c'\nimage='c.raw'\n[[profile]]\nname='p'\nkernel='linux'\ninitrd=['i1','i2']\n\
             answers='p.cfg'\n[[firmware]]\narch='uefi-x64'\nfile='snponly-own.efl'\n");
        fs::write(folder.disks().join("a.raw"), [0; 1024]).unwrap();
        fs::write(folder.disks().join("b.raw"), [0; 1000]).unwrap();
        fs::write(folder.media().join("linux"), []).unwrap();
        fs::write(folder.media().join("i1"), [1]).unwrap();
        fs::create_dir(folder.media().join("p.cfg")).unwrap();
        fs::write(folder.firmware().join("snponly-own.efi"), [1]).unwrap();
        let told = told(&folder, &[]);
        let expected = [
            ("7: ", "multiple of 512"),
            ("10: ", "does not exist"),
            ("13: ", "linux is empty"),
            ("14: ", "i2 does not exist"),
            ("15: ", "not a file"),
            ("18: ", "did you mean `snponly-own.efi`"),
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for ((line, words), told) in expected.iter().zip(&told) {
            assert!(told.starts_with(line) && told.contains(words), "{told}");
        }
        // `disks create` and `disks import` make new disks, and refuse the name of one that is there.
        assert!(told[1].contains("bring its raw image there") && !told[1].contains("bootyard disks"), "{}", told[1]);
    }

    #[test]
    fn who_is_to_write_an_image_under_overlays_is_told() {
        let text = "[[disk]]\nname='a'\nimage='a.raw'\n[[host]]\nmac='52:54:00:00:00:01'\n\
                    boot={iscsi='a',writes='image'}\n";
        let (_temp, folder) = lab(text);
        fs::write(folder.disks().join("a.raw"), [0; 1024]).unwrap();
        assert_eq!(told(&folder, &[]), Vec::<String>::new());
        let store = Store::new(folder.disks());
        let disk = folder.reading().lab.disks.remove(0);
        let key = crate::disks::OverlayKey::Host(crate::api::HostId(2));
        let request = crate::disks::OpenRequest { disk: &disk, key, label: "pc".into(), fresh_epoch: Some((1, false)) };
        drop(store.open(&request).unwrap());
        let told = told(&folder, &[]);
        assert!(
            told.len() == 1 && told[0].starts_with("7: ") && told[0].contains("1 overlays stand on it"),
            "{told:?}"
        );
    }

    #[test]
    fn this_computer_s_interfaces_are_compared() {
        let text = "[network]\ninterface='eth0'\nrange='10.0.0.5-10.0.0.9'\n[[host]]\nmac='52:54:00:00:00:01'\n\
                    address='10.0.0.7'\n";
        let (_temp, folder) = lab(text);
        let none = told(&folder, &[interface("eno1", &[])]);
        assert!(none.len() == 1 && none[0].contains("no interface `eth0`; it has eno1"), "{none:?}");
        assert_eq!(told(&folder, &[interface("eth0", &["10.0.0.1/24"])]), Vec::<String>::new());
        let other = told(&folder, &[interface("eth0", &["192.168.1.1/24"])]);
        assert!(other[0].starts_with("4: the range") && other[0].contains("192.168.1.0/24"), "{other:?}");
        assert!(other[1].starts_with("7: 10.0.0.7 is in none"), "{other:?}");
        let bare = told(&folder, &[interface("eth0", &[])]);
        assert!(bare.len() == 1 && bare[0].contains("add address"), "{bare:?}");
    }

    #[test]
    fn a_broken_file_is_checked_as_far_as_it_goes() {
        let (_temp, folder) = lab("foo = 1\n[[disk]]\nname='a'\nimage='a.raw'\n");
        let told = told(&folder, &[]);
        assert!(told[0].starts_with("2: unknown key `foo`") && told[1].starts_with("5: disk a"), "{told:?}");
    }
}
