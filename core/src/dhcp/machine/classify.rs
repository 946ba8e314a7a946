//! Which program asks. Everything that keeps iPXE from being given a binary again rests on this.

use crate::api::ClientKind;
use crate::boot::Arch;
use crate::dhcp::wire::Request;

/// iPXE's feature numbers in option 175 (priority and san settings are below, bus-id and the like above).
const FEATURES: std::ops::RangeInclusive<u8> = 0x10..=0x4f;
/// Option 175: bus-id, which gPXE sends too.
const BUS_ID: u8 = 177;
/// Option 175: iPXE's version.
const VERSION: u8 = 235;

/// Which program sent this, and for which architecture. iPXE and gPXE are told first, because they keep the firmware's option 60.
#[must_use]
pub fn classify(request: &Request) -> (ClientKind, Option<Arch>) {
    let class = request.class();
    let firmware_arch = request.arch_codes.iter().find_map(|code| Arch::from_code(*code));
    let arch = firmware_arch.or_else(|| if request.arch_codes.is_empty() { arch_of_class(class) } else { None });
    (client(request, class), arch)
}

fn client(request: &Request, class: &[u8]) -> ClientKind {
    if request.message.is_none() {
        return ClientKind::Bootp;
    }
    if request.has_user_class(b"iPXE") {
        return ClientKind::Ipxe;
    }
    if request.has_user_class(b"gPXE") {
        return ClientKind::Gpxe;
    }
    if let Some(options) = request.ipxe_options() {
        let ipxe = options.iter().any(|o| FEATURES.contains(o) || *o == VERSION);
        return if !ipxe && options.contains(&BUS_ID) { ClientKind::Gpxe } else { ClientKind::Ipxe };
    }
    if class.starts_with(b"PXEClient") {
        ClientKind::PxeRom
    } else if class.starts_with(b"HTTPClient") {
        ClientKind::HttpBoot
    } else {
        ClientKind::Os
    }
}

/// `PXEClient:Arch:00007:UNDI:003016`, for clients that leave out option 93.
fn arch_of_class(class: &[u8]) -> Option<Arch> {
    let text = std::str::from_utf8(class).ok()?;
    let number = text.split(':').skip_while(|part| *part != "Arch").nth(1)?;
    Arch::from_code(number.parse().ok()?)
}
