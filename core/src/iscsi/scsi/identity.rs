//! What a logical unit is called and how large it is.

use crate::disks::Medium;

/// Fixed for the life of a unit, but for the size, which may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Target name.
    pub target: String,
    /// Serial number: printable ASCII, different from every other unit's.
    pub serial: String,
    /// Removable medium.
    pub removable: bool,
    /// The storage refuses writes.
    pub readonly: bool,
    /// [`crate::disks::BlockDevice::medium`].
    pub medium: Option<Medium>,
    /// Most bytes that the storage writes as a whole or not at all; 0: it does not.
    pub atomic: u32,
}

impl Identity {
    /// Serial number as INQUIRY may carry it: printable ASCII, at most 200 bytes.
    #[must_use]
    pub fn serial(&self) -> Vec<u8> {
        self.serial.bytes().map(|b| if (0x20..0x7f).contains(&b) { b } else { b'_' }).take(200).collect()
    }

    /// A locally assigned NAA designator (SPC-4 7.8.6.6.4), made from target and serial number.
    #[must_use]
    pub fn naa(&self) -> [u8; 8] {
        let mut hash = blake3::Hasher::new();
        hash.update(self.target.as_bytes()).update(&[0]).update(self.serial.as_bytes());
        let hash = hash.finalize();
        let mut naa = [0; 8];
        naa.copy_from_slice(&hash.as_bytes()[..8]);
        naa[0] = 0x30 | naa[0] & 0x0f;
        naa
    }
}
