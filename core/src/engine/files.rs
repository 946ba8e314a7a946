//! Boot files by name, for TFTP and for `/firmware/` over HTTP: the plan's, nothing else.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::shared::Shared;
use crate::boot::Plan;
use crate::tftp::Root;

/// See the module's text.
#[derive(Debug)]
pub(super) struct BootFiles(pub(super) Arc<Shared>);

impl Root for BootFiles {
    fn find(&self, name: &str, peer: IpAddr) -> Option<PathBuf> {
        // Beside another server an address may not be known yet; the transfer is told of by the machine that has it.
        let _known_from_now_on = self.0.client(peer);
        find(&self.0.plan.borrow(), name)
    }
}

/// The file of this name: exactly, else without regard to case, as firmware writers do.
pub(super) fn find(plan: &Plan, name: &str) -> Option<PathBuf> {
    let name = name.trim_start_matches('/');
    let chosen = plan.firmware.values().find(|f| f.name == name).map(|f| &f.path);
    chosen
        .or_else(|| plan.files.get(name))
        .or_else(|| plan.files.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, path)| path))
        .or_else(|| plan.firmware.values().find(|f| f.name.eq_ignore_ascii_case(name)).map(|f| &f.path))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_case_and_nothing_else_is() {
        let files = [("snponly.efi".to_owned(), PathBuf::from("/usr/lib/ipxe/snponly.efi"))];
        let plan = Plan { files: files.into_iter().collect(), ..Plan::default() };
        assert!(find(&plan, "/SNPONLY.EFI").is_some());
        assert!(find(&plan, "usr/lib/ipxe/snponly.efi").is_none());
        assert!(find(&plan, "").is_none());
    }
}
