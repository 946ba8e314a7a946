//! Negotiation of the operational keys (RFC 7143 6.2 and 13).

use super::MAX_RECV;

/// What we offer: bursts of this many bytes.
const MAX_BURST: u32 = 1 << 20;
const FIRST_BURST: u32 = 256 << 10;

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// CRC32C over headers.
    pub header_digest: bool,
    /// CRC32C over data.
    pub data_digest: bool,
    /// Longest data segment that the initiator takes, bytes.
    pub max_send: u32,
    /// Most data of one R2T or Data-In sequence, bytes.
    pub max_burst: u32,
    /// Most unsolicited data of one command, bytes.
    pub first_burst: u32,
    /// Data-Out only after R2T.
    pub initial_r2t: bool,
    /// Data in the command PDU.
    pub immediate_data: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            header_digest: false,
            data_digest: false,
            max_send: 8192,
            max_burst: 262_144,
            first_burst: 65_536,
            initial_r2t: true,
            immediate_data: true,
        }
    }
}

/// Where a key belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Who and what: the first request, any stage.
    Anywhere,
    /// Security stage.
    Security,
    /// Operational stage.
    Operational,
    /// Full-feature phase only.
    Session,
    /// Not a key that we know.
    Unknown,
}

/// The stage in which a key is allowed.
pub(super) fn place(key: &str) -> Place {
    match key {
        "InitiatorName"
        | "InitiatorAlias"
        | "TargetName"
        | "SessionType"
        | "TargetAlias"
        | "TargetAddress"
        | "TargetPortalGroupTag" => Place::Anywhere,
        "AuthMethod" | "CHAP_A" | "CHAP_I" | "CHAP_C" | "CHAP_N" | "CHAP_R" => Place::Security,
        "HeaderDigest"
        | "DataDigest"
        | "MaxConnections"
        | "InitialR2T"
        | "ImmediateData"
        | "MaxRecvDataSegmentLength"
        | "MaxBurstLength"
        | "FirstBurstLength"
        | "DefaultTime2Wait"
        | "DefaultTime2Retain"
        | "MaxOutstandingR2T"
        | "DataPDUInOrder"
        | "DataSequenceInOrder"
        | "ErrorRecoveryLevel"
        | "IFMarker"
        | "OFMarker"
        | "IFMarkInt"
        | "OFMarkInt"
        | "TaskReporting"
        | "iSCSIProtocolLevel" => Place::Operational,
        "SendTargets" => Place::Session,
        _ => Place::Unknown,
    }
}

/// The reply to one key that an initiator offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// Declarative: none.
    None,
    /// This value.
    Value(String),
}

fn yes(on: bool) -> Reply {
    Reply::Value(if on { "Yes" } else { "No" }.into())
}

fn rejected() -> Reply {
    Reply::Value("Reject".into())
}

fn number(value: &str) -> Option<u32> {
    match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => value.parse().ok(),
    }
}

impl Params {
    /// Takes in one operational key and makes the reply. `discovery`: digests are not chosen there, as several initiators offer
    /// them without being able to.
    pub(super) fn offer(&mut self, key: &str, value: &str, discovery: bool) -> Reply {
        if value == "?" {
            return self.ask(key);
        }
        let within = |low: u32, high: u32| number(value).filter(|n| (low..=high).contains(n));
        let boolean = match value {
            "Yes" => Some(true),
            "No" => Some(false),
            _ => None,
        };
        match key {
            "HeaderDigest" | "DataDigest" => {
                let known = |v: &&str| *v == "None" || *v == "CRC32C" && !discovery;
                let Some(choice) = value.split(',').find(known) else { return rejected() };
                let on = choice == "CRC32C";
                *(if key == "HeaderDigest" { &mut self.header_digest } else { &mut self.data_digest }) = on;
                Reply::Value(choice.into())
            }
            "MaxRecvDataSegmentLength" => match within(512, 0xff_ffff) {
                Some(n) => {
                    self.max_send = n;
                    Reply::None
                }
                None => rejected(),
            },
            "MaxBurstLength" => match within(512, 0xff_ffff) {
                Some(n) => {
                    self.max_burst = n.min(MAX_BURST);
                    Reply::Value(self.max_burst.to_string())
                }
                None => rejected(),
            },
            "FirstBurstLength" => match within(512, 0xff_ffff) {
                Some(n) => {
                    self.first_burst = n.min(FIRST_BURST);
                    Reply::Value(self.first_burst.to_string())
                }
                None => rejected(),
            },
            "InitialR2T" => match boolean {
                Some(on) => {
                    self.initial_r2t = on;
                    yes(on)
                }
                None => rejected(),
            },
            "ImmediateData" => match boolean {
                Some(on) => {
                    self.immediate_data = on;
                    yes(on)
                }
                None => rejected(),
            },
            "DataPDUInOrder" | "DataSequenceInOrder" if boolean.is_some() => yes(true),
            "MaxConnections" | "MaxOutstandingR2T" if within(1, 65_535).is_some() => Reply::Value("1".into()),
            "ErrorRecoveryLevel" if within(0, 2).is_some() => Reply::Value("0".into()),
            // The larger of theirs and our 0; the smaller of theirs and our 0.
            "DefaultTime2Wait" if within(0, 3600).is_some() => Reply::Value(value.into()),
            "DefaultTime2Retain" if within(0, 3600).is_some() => Reply::Value("0".into()),
            "IFMarker" | "OFMarker" if boolean.is_some() => yes(false),
            "IFMarkInt" | "OFMarkInt" => Reply::Value("Irrelevant".into()),
            "TaskReporting" if value.split(',').any(|v| v == "RFC3720") => Reply::Value("RFC3720".into()),
            "iSCSIProtocolLevel" => match within(0, 31) {
                Some(n) => Reply::Value(n.min(1).to_string()),
                None => rejected(),
            },
            _ => rejected(),
        }
    }

    /// `?` asks for the value in force.
    fn ask(&self, key: &str) -> Reply {
        let digest = |on| Reply::Value(if on { "CRC32C" } else { "None" }.into());
        match key {
            "HeaderDigest" => digest(self.header_digest),
            "DataDigest" => digest(self.data_digest),
            "MaxRecvDataSegmentLength" => Reply::Value(MAX_RECV.to_string()),
            "MaxBurstLength" => Reply::Value(self.max_burst.to_string()),
            "FirstBurstLength" => Reply::Value(self.first_burst.to_string()),
            "InitialR2T" => yes(self.initial_r2t),
            "ImmediateData" => yes(self.immediate_data),
            "DataPDUInOrder" | "DataSequenceInOrder" => yes(true),
            "MaxConnections" | "MaxOutstandingR2T" | "iSCSIProtocolLevel" => Reply::Value("1".into()),
            "ErrorRecoveryLevel" | "DefaultTime2Wait" | "DefaultTime2Retain" => Reply::Value("0".into()),
            "IFMarker" | "OFMarker" => yes(false),
            "TaskReporting" => Reply::Value("RFC3720".into()),
            _ => rejected(),
        }
    }

    /// Negotiation is over: what depends on several keys.
    pub(super) fn settle(&mut self) {
        self.first_burst = self.first_burst.min(self.max_burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_answered_by_its_function() {
        let value = |v: &str| Reply::Value(v.into());
        for (key, offered, reply) in [
            ("HeaderDigest", "CRC32C,None", value("CRC32C")),
            ("DataDigest", "None,CRC32C", value("None")),
            ("DataDigest", "X", value("Reject")),
            ("MaxRecvDataSegmentLength", "4096", Reply::None),
            ("MaxRecvDataSegmentLength", "1", value("Reject")),
            ("MaxBurstLength", "0x40000", value("262144")),
            ("MaxBurstLength", "16776192", value("1048576")),
            ("FirstBurstLength", "512", value("512")),
            ("InitialR2T", "No", value("No")),
            ("InitialR2T", "maybe", value("Reject")),
            ("ImmediateData", "No", value("No")),
            ("DataPDUInOrder", "No", value("Yes")),
            ("MaxConnections", "8", value("1")),
            ("MaxConnections", "0", value("Reject")),
            ("ErrorRecoveryLevel", "2", value("0")),
            ("DefaultTime2Wait", "2", value("2")),
            ("DefaultTime2Retain", "20", value("0")),
            ("OFMarker", "Yes", value("No")),
            ("TaskReporting", "FastAbort,RFC3720", value("RFC3720")),
            ("iSCSIProtocolLevel", "2", value("1")),
            ("MaxBurstLength", "?", value("1048576")),
        ] {
            let mut params = Params { max_burst: 1 << 20, ..Params::default() };
            assert_eq!(params.offer(key, offered, false), reply, "{key}={offered}");
        }
        assert_eq!(Params::default().offer("HeaderDigest", "CRC32C,None", true), value("None"));
    }
}
