//! Sense data (SPC-4 4.5): why a command failed, in fixed or descriptor form.

use super::super::wire::put;

/// A sense key with its additional code and qualifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sense {
    /// Sense key.
    pub key: u8,
    /// ASC in the high byte, ASCQ in the low one.
    pub code: u16,
    /// INFORMATION: which block, or which byte differs.
    pub information: Option<u64>,
    /// What more the key's own bytes say.
    pub specific: Option<Specific>,
}

/// Sense key specific data (SPC-4 4.5.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specific {
    /// This byte of the CDB is wrong.
    Field(u16),
    /// So many of 65536 parts are done.
    Progress(u16),
}

impl Specific {
    fn encode(self) -> [u8; 3] {
        let (flags, value) = match self {
            Self::Field(at) => (0xc0, at),
            Self::Progress(parts) => (0x80, parts),
        };
        let value = value.to_be_bytes();
        [flags, value[0], value[1]]
    }
}

impl Sense {
    pub(crate) const fn new(key: u8, code: u16) -> Self {
        Self { key, code, information: None, specific: None }
    }

    /// Nothing to report.
    pub const NONE: Self = Self::new(0x0, 0x0000);
    /// The medium was ejected.
    pub const NO_MEDIUM: Self = Self::new(0x2, 0x3a02);
    /// Writing failed.
    pub const WRITE_ERROR: Self = Self::new(0x3, 0x0c00);
    /// SANITIZE COMMAND FAILED.
    pub const SANITIZE_FAILED: Self = Self::new(0x3, 0x3103);
    /// Reading failed.
    pub const READ_ERROR: Self = Self::new(0x3, 0x1100);
    /// INTERNAL TARGET FAILURE.
    pub const INTERNAL: Self = Self::new(0x4, 0x4400);
    /// PARAMETER LIST LENGTH ERROR.
    pub const LIST_LENGTH: Self = Self::new(0x5, 0x1a00);
    /// INVALID COMMAND OPERATION CODE.
    pub const OPCODE: Self = Self::new(0x5, 0x2000);
    /// INVALID FIELD IN COMMAND INFORMATION UNIT: the transport was told of less data than the command moves.
    pub const INFORMATION_UNIT: Self = Self::new(0x5, 0x0e03);
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    pub const RANGE: Self = Self::new(0x5, 0x2100);
    /// INVALID FIELD IN CDB.
    pub const CDB_FIELD: Self = Self::new(0x5, 0x2400);
    /// LOGICAL UNIT NOT SUPPORTED.
    pub const LUN: Self = Self::new(0x5, 0x2500);
    /// INVALID FIELD IN PARAMETER LIST.
    pub const LIST_FIELD: Self = Self::new(0x5, 0x2600);
    /// INVALID RELEASE OF PERSISTENT RESERVATION.
    pub const RELEASE: Self = Self::new(0x5, 0x2604);
    /// SAVING PARAMETERS NOT SUPPORTED.
    pub const SAVING: Self = Self::new(0x5, 0x3900);
    /// INSUFFICIENT REGISTRATION RESOURCES.
    pub const REGISTRATIONS: Self = Self::new(0x5, 0x5504);
    /// MEDIUM REMOVAL PREVENTED.
    pub const PREVENTED: Self = Self::new(0x5, 0x5302);
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    pub const MEDIUM_CHANGED: Self = Self::new(0x6, 0x2800);
    /// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED.
    pub const POWER_ON: Self = Self::new(0x6, 0x2900);
    /// SCSI BUS RESET OCCURRED: a hard reset (SAM-5 6.3.2).
    pub const HARD_RESET: Self = Self::new(0x6, 0x2902);
    /// BUS DEVICE RESET FUNCTION OCCURRED.
    pub const RESET: Self = Self::new(0x6, 0x2903);
    /// MODE PARAMETERS CHANGED.
    pub const MODE_CHANGED: Self = Self::new(0x6, 0x2a01);
    /// CAPACITY DATA HAS CHANGED.
    pub const CAPACITY_CHANGED: Self = Self::new(0x6, 0x2a09);
    /// RESERVATIONS PREEMPTED.
    pub const PREEMPTED_RESERVATIONS: Self = Self::new(0x6, 0x2a03);
    /// RESERVATIONS RELEASED.
    pub const RELEASED_RESERVATIONS: Self = Self::new(0x6, 0x2a04);
    /// REGISTRATIONS PREEMPTED.
    pub const PREEMPTED_REGISTRATIONS: Self = Self::new(0x6, 0x2a05);
    /// COMMANDS CLEARED BY ANOTHER INITIATOR.
    pub const CLEARED: Self = Self::new(0x6, 0x2f00);
    /// WRITE PROTECTED.
    pub const READ_ONLY: Self = Self::new(0x7, 0x2700);
    /// LOGICAL UNIT SOFTWARE WRITE PROTECTED.
    pub const SOFTWARE_PROTECTED: Self = Self::new(0x7, 0x2702);
    /// COPY ABORTED: no reason beyond.
    pub const COPY_ABORTED: Self = Self::new(0xa, 0x0000);
    /// COPY ABORTED, COPY TARGET DEVICE NOT REACHABLE.
    pub const COPY_UNREACHABLE: Self = Self::new(0xa, 0x0d02);
    /// COPY ABORTED, UNREACHABLE COPY TARGET.
    pub const COPY_NO_TARGET: Self = Self::new(0xa, 0x0804);
    /// TOO MANY TARGET DESCRIPTORS.
    pub const COPY_TARGETS: Self = Self::new(0x5, 0x2606);
    /// UNSUPPORTED TARGET DESCRIPTOR TYPE CODE.
    pub const COPY_TARGET_TYPE: Self = Self::new(0x5, 0x2607);
    /// TOO MANY SEGMENT DESCRIPTORS.
    pub const COPY_SEGMENTS: Self = Self::new(0x5, 0x2608);
    /// UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE.
    pub const COPY_SEGMENT_TYPE: Self = Self::new(0x5, 0x2609);
    /// SPACE ALLOCATION FAILED WRITE PROTECT.
    pub const NO_SPACE: Self = Self::new(0x7, 0x2707);
    /// A write that the initiator did not give all data for.
    pub const SHORT_DATA: Self = Self::new(0xb, 0x4b00);

    /// MISCOMPARE DURING VERIFY OPERATION: the first byte that differs.
    #[must_use]
    pub const fn miscompare(at: u64) -> Self {
        Self { key: 0xe, code: 0x1d00, information: Some(at), specific: None }
    }

    /// INVALID FIELD IN CDB: this byte of it.
    #[must_use]
    pub const fn field(at: u16) -> Self {
        Self { key: 0x5, code: 0x2400, information: None, specific: Some(Specific::Field(at)) }
    }

    /// LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS.
    #[must_use]
    pub const fn sanitizing(progress: u16) -> Self {
        Self { key: 0x2, code: 0x041b, information: None, specific: Some(Specific::Progress(progress)) }
    }

    /// The bytes.
    #[must_use]
    pub fn encode(self, descriptor: bool) -> Vec<u8> {
        let code = self.code.to_be_bytes();
        if descriptor {
            let mut b = vec![0x72, self.key, code[0], code[1], 0, 0, 0, 0];
            if let Some(information) = self.information {
                b[7] = 12;
                b.extend_from_slice(&[0x00, 0x0a, 0x80, 0]);
                b.extend_from_slice(&information.to_be_bytes());
            }
            if let Some(specific) = self.specific {
                b[7] += 8;
                let [flags, high, low] = specific.encode();
                b.extend_from_slice(&[0x02, 0x06, 0, 0, flags, high, low, 0]);
            }
            return b;
        }
        let mut b = vec![0; 18];
        b[0] = 0x70;
        b[2] = self.key;
        b[7] = 10;
        put(&mut b, 12, &code);
        if let Some(information) = self.information.and_then(|n| u32::try_from(n).ok()) {
            b[0] |= 0x80;
            put(&mut b, 3, &information.to_be_bytes());
        }
        if let Some(specific) = self.specific {
            put(&mut b, 15, &specific.encode());
        }
        b
    }
}
