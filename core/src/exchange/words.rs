//! The small languages that all formats share: root-paths, URLs of boot files, names.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::lab::Name;

/// A root-path, RFC 4173 section 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RootPath {
    /// Empty: the server that answered.
    pub(super) server: String,
    pub(super) port: Option<u16>,
    pub(super) lun: u64,
    pub(super) target: String,
}

/// `iscsi:SERVER:PROTOCOL:PORT:LUN:TARGET`
pub(super) fn root_path(text: &str) -> Option<RootPath> {
    let rest = text.trim().strip_prefix("iscsi:")?;
    let parts: Vec<&str> = rest.splitn(5, ':').collect();
    let [server, _, port, lun, target] = parts.as_slice() else { return None };
    let lun = lun.split('-').next().unwrap_or_default();
    Some(RootPath {
        server: (*server).to_owned(),
        port: if port.is_empty() { None } else { Some(port.parse().ok()?) },
        lun: if lun.is_empty() { 0 } else { u64::from_str_radix(lun.trim_start_matches("0x"), 16).ok()? },
        target: (!target.is_empty()).then(|| (*target).to_owned())?,
    })
}

/// The host of a URL, if that is an address.
pub(super) fn url_host(url: &str) -> Option<Ipv4Addr> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', ':']).next()?.parse().ok()
}

/// The last part of a file's name or URL, without query.
pub(super) fn leaf(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// Where a URL's file is to be below `media/`.
///
/// # Errors
/// Why it has no such place.
pub(super) fn media_path(url: &str) -> Result<PathBuf, String> {
    if url.contains("${") {
        return Err(format!("{url} depends on the machine; a profile's files are the same for all"));
    }
    let path = match url.split_once("://") {
        Some((scheme @ ("http" | "https" | "tftp" | "ftp" | "nfs"), rest)) => {
            let path = rest.split_once('/').map(|(_, path)| path);
            path.ok_or_else(|| format!("{scheme}://{rest} names no file"))?
        }
        Some((scheme, _)) => return Err(format!("a file over {scheme} cannot be served here")),
        None => url,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut out = PathBuf::new();
    for (n, part) in path.split('/').filter(|p| !p.is_empty() && *p != ".").enumerate() {
        let part = decoded(part);
        if part == ".." || part.contains(['/', '\0']) || part.chars().any(char::is_control) {
            return Err(format!("{url} names no file below media/"));
        }
        if n == 0 && part == "media" {
            continue;
        }
        out.push(part);
    }
    match out.as_os_str().len() {
        0 => Err(format!("{url} names no file")),
        1..=512 => Ok(out),
        _ => Err("its name is too long".to_owned()),
    }
}

fn decoded(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A name of the lab, made of any text.
pub(super) fn name(text: &str) -> Option<Name> {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
    }
    let end = out.len().min(63);
    out.get(..end)?.trim_matches('-').parse().ok()
}

/// The number of an option of iPXE's own, within option 175, by the name that its documentation gives it.
pub(super) fn ipxe_code(name: &str) -> Option<u16> {
    Some(match name.to_ascii_lowercase().as_str() {
        "priority" => 1,
        "keep-san" => 8,
        "skip-san-boot" => 9,
        "privkey" => 0x5c,
        "no-pxedhcp" | "no-proxydhcp" => 176,
        "bus-id" => 177,
        "use-cached" => 178,
        "username" => 190,
        "password" => 191,
        "reverse-username" => 192,
        "reverse-password" => 193,
        _ => return None,
    })
}

/// Why an option of iPXE's own that a server gives is lost; `None`: Bootyard does what it is for.
pub(super) fn lost_of_ipxe(code: Option<u16>) -> Option<&'static str> {
    match code {
        // What clients say of themselves, and how to get on without a ProxyDHCP server.
        Some(1 | 8 | 9 | 16..=41 | 176..=178 | 235) => None,
        Some(190..=193) => Some("CHAP stands in the [[disk]], as `chap`"),
        _ => Some("Bootyard gives iPXE no such option"),
    }
}

/// Whether an option of iPXE's own is a secret: passwords, and its private key.
pub(super) fn is_ipxe_secret(code: u16) -> bool {
    matches!(code, 0x5c | 191 | 193)
}

/// Whether a boot file is iPXE or gPXE, by its name.
pub(super) fn is_ipxe(file: &str) -> bool {
    let name = leaf(file).to_ascii_lowercase();
    let ends = ["kpxe", "kkpxe", "kkkpxe", "pxe", "efi", "0", "lkrn", "bin"];
    let program = name.rsplit_once('.').is_some_and(|(_, end)| ends.contains(&end));
    program
        && ["ipxe", "gpxe", "undionly", "snponly", "snp-"].iter().any(|part| name.contains(part))
        && !name.starts_with("pxelinux")
        && !name.starts_with("gpxelinux")
        && !name.starts_with("lpxelinux")
}

/// Whether a file that iPXE is given is a script and no program.
pub(super) fn is_script(file: &str) -> bool {
    let name = leaf(file).to_ascii_lowercase();
    let program = ["efi", "kpxe", "kkpxe", "pxe", "0", "lkrn", "iso", "img", "com", "bin"];
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    ["ipxe", "gpxe", "php", "cgi", "txt", "cfg"].contains(&end) || file.contains("://") && !program.contains(&end)
}

/// Names by which kernels are called everywhere: they say nothing of what the kernel is for.
pub(super) fn says_nothing(kernel: &str) -> bool {
    let stem = kernel.to_ascii_lowercase();
    ["linux", "linux26", "kernel", "bzimage", "wimboot", "memdisk", "image"].contains(&stem.as_str())
        || stem.starts_with("vmlinu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_paths_are_taken_apart() {
        let all = root_path("iscsi:192.168.2.1::::iqn.2001-04.com.server:server01.vg00.lun0").unwrap();
        assert_eq!((all.server.as_str(), all.port, all.lun), ("192.168.2.1", None, 0));
        assert_eq!(all.target, "iqn.2001-04.com.server:server01.vg00.lun0");
        assert_eq!(root_path("iscsi:10.0.0.1:6:3261:1:iqn.x:y").unwrap().lun, 1);
        for bad in ["nfs", "iscsi:", "iscsi:1.2.3.4", "iscsi:a::x::t", "192.168.1.1:/srv/nfs", "iscsi:h::::"] {
            assert_eq!(root_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn urls_become_paths_below_media_or_nothing() {
        let path = |url| media_path(url).map(|p| p.to_string_lossy().into_owned());
        assert_eq!(path("http://192.168.2.1/default/centos5").unwrap(), "default/centos5");
        assert_eq!(path("http://h:8080/media/a%20b/c?x=1").unwrap(), "a b/c");
        assert_eq!(path("vmlinuz").unwrap(), "vmlinuz");
        for bad in
            ["http://h/../x", "http://h/%2e%2e/x", "http://h", "http://h/${mac}", "aoe:e0.1://x", "http://h/a%2Fb"]
        {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn boot_files_are_told_apart_by_name() {
        for file in
            ["undionly.kpxe", "ipxe.efi", "tftp://x/snponly.efi", "ipxe/ipxe-x86_64.efi", "gpxe.0", "undionly.0"]
        {
            assert!(is_ipxe(file) && !is_script(file), "{file}");
        }
        for file in ["pxelinux.0", "gpxelinux.0", "grubx64.efi", "shimx64.efi", "boot.ipxe", ""] {
            assert!(!is_ipxe(file), "{file}");
        }
        for file in ["http://h/default/install.gpxe", "boot.ipxe", "http://h/boot.php?mac=${mac}", "http://h/boot"] {
            assert!(is_script(file), "{file}");
        }
        assert!(!is_script("pxelinux.0") && !is_script("http://h/x.efi"));
        assert_eq!(name("PC_07.example.org").unwrap().as_str(), "pc-07-example-org");
        assert!(name("__").is_none());
    }
}
