//! What an initiator sends (RFC 7143 11.3, 11.5, 11.7, 11.10, 11.12, 11.14, 11.16, 11.18).

use super::{BHS, Bhs, be16, be32, put};

/// Retry is obsolete; this bit says that a PDU is not ordered by CmdSN (RFC 7143 11.2.1.1).
const IMMEDIATE: u8 = 0x40;

/// NOP-Out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NopOut {
    /// Not ordered by CmdSN.
    pub immediate: bool,
    /// Logical unit.
    pub lun: [u8; 8],
    /// Initiator task tag; [`super::NO_TAG`] wants no answer.
    pub itt: u32,
    /// Target transfer tag of the NOP-In that this answers.
    pub ttt: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

/// SCSI Command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScsiCommand {
    /// Not ordered by CmdSN.
    pub immediate: bool,
    /// No unsolicited Data-Out follows.
    pub last: bool,
    /// Expects data.
    pub read: bool,
    /// Has data.
    pub write: bool,
    /// Task attribute: 0 untagged, 1 simple, 2 ordered, 3 head of queue, 4 ACA.
    pub attribute: u8,
    /// Logical unit.
    pub lun: [u8; 8],
    /// Initiator task tag.
    pub itt: u32,
    /// Expected data transfer length, bytes.
    pub expected: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// The first 16 bytes of the CDB.
    pub cdb: [u8; 16],
}

/// Task Management Function Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskManagement {
    /// Not ordered by CmdSN.
    pub immediate: bool,
    /// Function, RFC 7143 11.5.1.
    pub function: u8,
    /// Logical unit.
    pub lun: [u8; 8],
    /// Initiator task tag.
    pub itt: u32,
    /// The task meant.
    pub referenced: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// CmdSN of the task meant.
    pub ref_cmd_sn: u32,
    /// ExpDataSN, for TASK REASSIGN.
    pub exp_data_sn: u32,
}

/// Login Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Ready for the next stage.
    pub transit: bool,
    /// The text goes on in the next request.
    pub more: bool,
    /// Current stage: 0 security, 1 operational, 3 full feature.
    pub stage: u8,
    /// Stage wanted next, where `transit` is set.
    pub next: u8,
    /// Highest version.
    pub version_max: u8,
    /// Lowest version.
    pub version_min: u8,
    /// Initiator's part of the session's name.
    pub isid: [u8; 6],
    /// Target's part; 0 for a new session.
    pub tsih: u16,
    /// Initiator task tag.
    pub itt: u32,
    /// Connection.
    pub cid: u16,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

/// Text Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Not ordered by CmdSN.
    pub immediate: bool,
    /// Last of its sequence.
    pub last: bool,
    /// The text goes on in the next request.
    pub more: bool,
    /// Logical unit.
    pub lun: [u8; 8],
    /// Initiator task tag.
    pub itt: u32,
    /// Target transfer tag of the answer that this continues.
    pub ttt: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

/// SCSI Data-Out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataOut {
    /// Last of its sequence.
    pub last: bool,
    /// Logical unit.
    pub lun: [u8; 8],
    /// Initiator task tag.
    pub itt: u32,
    /// Target transfer tag of the R2T; [`super::NO_TAG`] when unsolicited.
    pub ttt: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// Number within the sequence.
    pub data_sn: u32,
    /// Where the bytes belong, from the start of the command's data.
    pub offset: u32,
}

/// Logout Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// Not ordered by CmdSN.
    pub immediate: bool,
    /// 0 close the session, 1 close the connection, 2 remove the connection for recovery.
    pub reason: u8,
    /// Initiator task tag.
    pub itt: u32,
    /// Connection.
    pub cid: u16,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

/// SNACK Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snack {
    /// 0 Data or R2T, 1 Status, 2 DataACK, 3 R-Data.
    pub kind: u8,
    /// Logical unit.
    pub lun: [u8; 8],
    /// Initiator task tag.
    pub itt: u32,
    /// Target transfer tag or SNACK tag.
    pub ttt: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// First number wanted.
    pub begin: u32,
    /// How many.
    pub run: u32,
}

/// Whatever an initiator sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// 0x00.
    NopOut(NopOut),
    /// 0x01.
    Command(ScsiCommand),
    /// 0x02.
    TaskManagement(TaskManagement),
    /// 0x03.
    Login(Login),
    /// 0x04.
    Text(Text),
    /// 0x05.
    DataOut(DataOut),
    /// 0x06.
    Logout(Logout),
    /// 0x10.
    Snack(Snack),
    /// An opcode that initiators do not have.
    Unknown(u8),
}

fn eight(b: &Bhs) -> [u8; 8] {
    std::array::from_fn(|i| b[8 + i])
}

impl Request {
    /// Reads a basic header.
    #[must_use]
    pub fn decode(b: &Bhs) -> Self {
        let immediate = b[0] & IMMEDIATE != 0;
        let flags = b[1];
        let (last, more) = (flags & 0x80 != 0, flags & 0x40 != 0);
        let (lun, itt, ttt) = (eight(b), be32(b, 16), be32(b, 20));
        let (cmd_sn, exp_stat_sn) = (be32(b, 24), be32(b, 28));
        match b[0] & 0x3f {
            0x00 => Self::NopOut(NopOut { immediate, lun, itt, ttt, cmd_sn, exp_stat_sn }),
            0x01 => Self::Command(ScsiCommand {
                immediate,
                last,
                read: flags & 0x40 != 0,
                write: flags & 0x20 != 0,
                attribute: flags & 7,
                lun,
                itt,
                expected: be32(b, 20),
                cmd_sn,
                exp_stat_sn,
                cdb: std::array::from_fn(|i| b[32 + i]),
            }),
            0x02 => Self::TaskManagement(TaskManagement {
                immediate,
                function: flags & 0x7f,
                lun,
                itt,
                referenced: be32(b, 20),
                cmd_sn,
                exp_stat_sn,
                ref_cmd_sn: be32(b, 32),
                exp_data_sn: be32(b, 36),
            }),
            0x03 => Self::Login(Login {
                transit: last,
                more,
                stage: flags >> 2 & 3,
                next: flags & 3,
                version_max: b[2],
                version_min: b[3],
                isid: std::array::from_fn(|i| b[8 + i]),
                tsih: be16(b, 14),
                itt,
                cid: be16(b, 20),
                cmd_sn,
                exp_stat_sn,
            }),
            0x04 => Self::Text(Text { immediate, last, more, lun, itt, ttt, cmd_sn, exp_stat_sn }),
            0x05 => {
                Self::DataOut(DataOut { last, lun, itt, ttt, exp_stat_sn, data_sn: be32(b, 36), offset: be32(b, 40) })
            }
            0x06 => {
                Self::Logout(Logout { immediate, reason: flags & 0x7f, itt, cid: be16(b, 20), cmd_sn, exp_stat_sn })
            }
            0x10 => Self::Snack(Snack {
                kind: flags & 0xf,
                lun,
                itt,
                ttt,
                exp_stat_sn,
                begin: be32(b, 40),
                run: be32(b, 44),
            }),
            other => Self::Unknown(other),
        }
    }

    /// Writes a basic header, lengths left zero; `None` for [`Request::Unknown`].
    #[must_use]
    pub fn encode(&self) -> Option<Bhs> {
        let mut b = [0; BHS];
        let mut common = |opcode: u8, immediate: bool, flags: u8, itt: u32, numbers: Option<(u32, u32)>| {
            b[0] = opcode | if immediate { IMMEDIATE } else { 0 };
            b[1] = flags;
            put(&mut b, 16, &itt.to_be_bytes());
            if let Some((cmd_sn, exp_stat_sn)) = numbers {
                put(&mut b, 24, &cmd_sn.to_be_bytes());
                put(&mut b, 28, &exp_stat_sn.to_be_bytes());
            }
        };
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        match self {
            Self::NopOut(p) => {
                common(0x00, p.immediate, 0x80, p.itt, Some((p.cmd_sn, p.exp_stat_sn)));
                put(&mut b, 8, &p.lun);
                put(&mut b, 20, &p.ttt.to_be_bytes());
            }
            Self::Command(p) => {
                let flags = bit(p.last, 0x80) | bit(p.read, 0x40) | bit(p.write, 0x20) | p.attribute & 7;
                common(0x01, p.immediate, flags, p.itt, Some((p.cmd_sn, p.exp_stat_sn)));
                put(&mut b, 8, &p.lun);
                put(&mut b, 20, &p.expected.to_be_bytes());
                put(&mut b, 32, &p.cdb);
            }
            Self::TaskManagement(p) => {
                common(0x02, p.immediate, 0x80 | p.function, p.itt, Some((p.cmd_sn, p.exp_stat_sn)));
                put(&mut b, 8, &p.lun);
                put(&mut b, 20, &p.referenced.to_be_bytes());
                put(&mut b, 32, &p.ref_cmd_sn.to_be_bytes());
                put(&mut b, 36, &p.exp_data_sn.to_be_bytes());
            }
            Self::Login(p) => {
                let flags = bit(p.transit, 0x80) | bit(p.more, 0x40) | (p.stage & 3) << 2 | p.next & 3;
                common(0x03, true, flags, p.itt, Some((p.cmd_sn, p.exp_stat_sn)));
                b[2] = p.version_max;
                b[3] = p.version_min;
                put(&mut b, 8, &p.isid);
                put(&mut b, 14, &p.tsih.to_be_bytes());
                put(&mut b, 20, &p.cid.to_be_bytes());
            }
            Self::Text(p) => {
                let flags = bit(p.last, 0x80) | bit(p.more, 0x40);
                common(0x04, p.immediate, flags, p.itt, Some((p.cmd_sn, p.exp_stat_sn)));
                put(&mut b, 8, &p.lun);
                put(&mut b, 20, &p.ttt.to_be_bytes());
            }
            Self::DataOut(p) => {
                common(0x05, false, bit(p.last, 0x80), p.itt, Some((0, p.exp_stat_sn)));
                put(&mut b, 8, &p.lun);
                put(&mut b, 20, &p.ttt.to_be_bytes());
                put(&mut b, 36, &p.data_sn.to_be_bytes());
                put(&mut b, 40, &p.offset.to_be_bytes());
            }
            Self::Logout(p) => {
                common(0x06, p.immediate, 0x80 | p.reason, p.itt, Some((p.cmd_sn, p.exp_stat_sn)));
                put(&mut b, 20, &p.cid.to_be_bytes());
            }
            Self::Snack(p) => {
                common(0x10, false, 0x80 | p.kind, p.itt, Some((0, p.exp_stat_sn)));
                put(&mut b, 8, &p.lun);
                put(&mut b, 20, &p.ttt.to_be_bytes());
                put(&mut b, 40, &p.begin.to_be_bytes());
                put(&mut b, 44, &p.run.to_be_bytes());
            }
            Self::Unknown(_) => return None,
        }
        Some(b)
    }
}
