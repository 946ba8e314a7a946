//! What a target sends (RFC 7143 11.4, 11.6, 11.7, 11.8, 11.9, 11.11, 11.13, 11.15, 11.17, 11.19).

use super::{BHS, Bhs, NO_TAG, be16, be32, put};

/// Where the target stands: in every PDU that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// StatSN.
    pub stat_sn: u32,
    /// ExpCmdSN.
    pub exp_cmd_sn: u32,
    /// MaxCmdSN.
    pub max_cmd_sn: u32,
}

/// How much less or more than expected was moved (RFC 7143 11.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Residual {
    /// As expected.
    #[default]
    None,
    /// This many bytes of the expected ones were not moved.
    Under(u32),
    /// This many bytes more would have been moved.
    Over(u32),
}

impl Residual {
    fn flags(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Under(_) => 0x02,
            Self::Over(_) => 0x04,
        }
    }

    fn count(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Under(n) | Self::Over(n) => n,
        }
    }

    fn decode(flags: u8, count: u32) -> Self {
        match flags & 0x06 {
            0x02 => Self::Under(count),
            0x04 => Self::Over(count),
            _ => Self::None,
        }
    }
}

/// A target's PDU.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are RFC 7143's own, named as in its section")]
pub enum Response {
    /// 0x20. `ttt` is [`NO_TAG`] unless an answer is wanted.
    NopIn { lun: [u8; 8], itt: u32, ttt: u32, at: Numbers },
    /// 0x21.
    Scsi { response: u8, status: u8, itt: u32, at: Numbers, exp_data_sn: u32, residual: Residual },
    /// 0x22.
    TaskManagement { response: u8, itt: u32, at: Numbers },
    /// 0x23.
    Login {
        transit: bool,
        more: bool,
        stage: u8,
        next: u8,
        isid: [u8; 6],
        tsih: u16,
        itt: u32,
        at: Numbers,
        status: u16,
    },
    /// 0x24.
    Text { last: bool, more: bool, lun: [u8; 8], itt: u32, ttt: u32, at: Numbers },
    /// 0x25. `status` is in the last one of a command that ended well.
    DataIn {
        last: bool,
        status: Option<u8>,
        residual: Residual,
        lun: [u8; 8],
        itt: u32,
        at: Numbers,
        data_sn: u32,
        offset: u32,
    },
    /// 0x26.
    Logout { response: u8, itt: u32, at: Numbers },
    /// 0x31.
    R2t { lun: [u8; 8], itt: u32, ttt: u32, at: Numbers, r2t_sn: u32, offset: u32, len: u32 },
    /// 0x3f. The data segment is the header of what is rejected.
    Reject { reason: u8, at: Numbers },
}

impl Response {
    /// Writes a basic header, lengths left zero.
    #[must_use]
    pub fn encode(&self) -> Bhs {
        let mut b = [0; BHS];
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let (opcode, flags, itt, at) = match self {
            Self::NopIn { itt, at, .. } => (0x20, 0x80, *itt, at),
            Self::Scsi { itt, at, residual, .. } => (0x21, 0x80 | residual.flags(), *itt, at),
            Self::TaskManagement { itt, at, .. } => (0x22, 0x80, *itt, at),
            Self::Login { transit, more, stage, next, itt, at, .. } => {
                (0x23, bit(*transit, 0x80) | bit(*more, 0x40) | (stage & 3) << 2 | next & 3, *itt, at)
            }
            Self::Text { last, more, itt, at, .. } => (0x24, bit(*last, 0x80) | bit(*more, 0x40), *itt, at),
            Self::DataIn { last, status, residual, itt, at, .. } => {
                (0x25, bit(*last, 0x80) | residual.flags() | bit(status.is_some(), 1), *itt, at)
            }
            Self::Logout { itt, at, .. } => (0x26, 0x80, *itt, at),
            Self::R2t { itt, at, .. } => (0x31, 0x80, *itt, at),
            Self::Reject { at, .. } => (0x3f, 0x80, NO_TAG, at),
        };
        b[0] = opcode;
        b[1] = flags;
        put(&mut b, 16, &itt.to_be_bytes());
        put(&mut b, 24, &at.stat_sn.to_be_bytes());
        put(&mut b, 28, &at.exp_cmd_sn.to_be_bytes());
        put(&mut b, 32, &at.max_cmd_sn.to_be_bytes());
        match self {
            Self::NopIn { lun, ttt, .. } | Self::Text { lun, ttt, .. } => {
                put(&mut b, 8, lun);
                put(&mut b, 20, &ttt.to_be_bytes());
            }
            Self::Scsi { response, status, exp_data_sn, residual, .. } => {
                b[2] = *response;
                b[3] = *status;
                put(&mut b, 36, &exp_data_sn.to_be_bytes());
                put(&mut b, 44, &residual.count().to_be_bytes());
            }
            Self::TaskManagement { response, .. } | Self::Logout { response, .. } => b[2] = *response,
            Self::Login { isid, tsih, status, .. } => {
                put(&mut b, 8, isid);
                put(&mut b, 14, &tsih.to_be_bytes());
                put(&mut b, 36, &status.to_be_bytes());
            }
            Self::DataIn { status, residual, lun, data_sn, offset, .. } => {
                b[3] = status.unwrap_or_default();
                put(&mut b, 8, lun);
                put(&mut b, 20, &NO_TAG.to_be_bytes());
                put(&mut b, 36, &data_sn.to_be_bytes());
                put(&mut b, 40, &offset.to_be_bytes());
                put(&mut b, 44, &residual.count().to_be_bytes());
            }
            Self::R2t { lun, ttt, r2t_sn, offset, len, .. } => {
                put(&mut b, 8, lun);
                put(&mut b, 20, &ttt.to_be_bytes());
                put(&mut b, 36, &r2t_sn.to_be_bytes());
                put(&mut b, 40, &offset.to_be_bytes());
                put(&mut b, 44, &len.to_be_bytes());
            }
            Self::Reject { reason, .. } => b[2] = *reason,
        }
        b
    }

    /// Reads a basic header: what tests' initiators and captures need.
    #[must_use]
    pub fn decode(b: &Bhs) -> Option<Self> {
        let flags = b[1];
        let (last, more) = (flags & 0x80 != 0, flags & 0x40 != 0);
        let lun = std::array::from_fn(|i| b[8 + i]);
        let (itt, ttt) = (be32(b, 16), be32(b, 20));
        let at = Numbers { stat_sn: be32(b, 24), exp_cmd_sn: be32(b, 28), max_cmd_sn: be32(b, 32) };
        Some(match b[0] & 0x3f {
            0x20 => Self::NopIn { lun, itt, ttt, at },
            0x21 => Self::Scsi {
                response: b[2],
                status: b[3],
                itt,
                at,
                exp_data_sn: be32(b, 36),
                residual: Residual::decode(flags, be32(b, 44)),
            },
            0x22 => Self::TaskManagement { response: b[2], itt, at },
            0x23 => Self::Login {
                transit: last,
                more,
                stage: flags >> 2 & 3,
                next: flags & 3,
                isid: std::array::from_fn(|i| b[8 + i]),
                tsih: be16(b, 14),
                itt,
                at,
                status: be16(b, 36),
            },
            0x24 => Self::Text { last, more, lun, itt, ttt, at },
            0x25 => Self::DataIn {
                last,
                status: (flags & 1 != 0).then_some(b[3]),
                residual: Residual::decode(flags, be32(b, 44)),
                lun,
                itt,
                at,
                data_sn: be32(b, 36),
                offset: be32(b, 40),
            },
            0x26 => Self::Logout { response: b[2], itt, at },
            0x31 => Self::R2t { lun, itt, ttt, at, r2t_sn: be32(b, 36), offset: be32(b, 40), len: be32(b, 44) },
            0x3f => Self::Reject { reason: b[2], at },
            _ => return None,
        })
    }
}
