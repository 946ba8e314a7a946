//! Option numbers of RFC 2132 and its successors that we read or write, by the names of the registry.

/// Padding; has no length.
pub const PAD: u8 = 0;
/// Subnet mask.
pub const SUBNET_MASK: u8 = 1;
/// Routers.
pub const ROUTER: u8 = 3;
/// DNS servers.
pub const DNS: u8 = 6;
/// Host name.
pub const HOST_NAME: u8 = 12;
/// Domain name.
pub const DOMAIN: u8 = 15;
/// Root path (RFC 4173 for iSCSI).
pub const ROOT_PATH: u8 = 17;
/// Broadcast address.
pub const BROADCAST: u8 = 28;
/// Vendor-specific information: PXE's own options.
pub const VENDOR: u8 = 43;
/// Requested address.
pub const REQUESTED: u8 = 50;
/// Lease time, seconds.
pub const LEASE_TIME: u8 = 51;
/// `file` and `sname` hold options.
pub const OVERLOAD: u8 = 52;
/// Message type.
pub const MESSAGE_TYPE: u8 = 53;
/// Server identifier.
pub const SERVER_ID: u8 = 54;
/// Parameter request list.
pub const PARAMETERS: u8 = 55;
/// Text of a NAK.
pub const MESSAGE: u8 = 56;
/// Largest message that the client takes, as an IP datagram.
pub const MAX_SIZE: u8 = 57;
/// Renewal time (T1), seconds.
pub const RENEWAL: u8 = 58;
/// Rebinding time (T2), seconds.
pub const REBINDING: u8 = 59;
/// Vendor class: `PXEClient…`, `HTTPClient…`.
pub const CLASS: u8 = 60;
/// Client identifier.
pub const CLIENT_ID: u8 = 61;
/// Name of the TFTP server.
pub const TFTP_SERVER: u8 = 66;
/// Boot file.
pub const BOOT_FILE: u8 = 67;
/// User class (RFC 3004, or iPXE's raw form).
pub const USER_CLASS: u8 = 77;
/// Relay agent information (RFC 3046).
pub const RELAY: u8 = 82;
/// Client architecture (RFC 4578).
pub const ARCH: u8 = 93;
/// Client UUID (RFC 4578).
pub const UUID: u8 = 97;
/// Subnet selection (RFC 3011).
pub const SUBNET_SELECTION: u8 = 118;
/// iPXE's encapsulated options.
pub const IPXE: u8 = 175;
/// Initiator name, of iPXE.
pub const INITIATOR: u8 = 203;
/// Ends the options; has no length.
pub const END: u8 = 255;
