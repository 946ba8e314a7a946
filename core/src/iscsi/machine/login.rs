//! Login phase (RFC 7143 6.3): security stage, operational stage, and the step into full-feature phase.

use super::super::wire::request::{self, Request as Pdu};
use super::super::wire::response::Response;
use super::super::wire::{Framing, Payload, Raw, text};
use super::chap::{Algorithm, same};
use super::core::Core;
use super::keys::{Place, Reply, place};
use super::session::Session;
use super::{MAX_RECV, Opened, Request};
use crate::api::EventKind;
use crate::iscsi::{Grant, LoginRequest, Refusal};
use crate::machine::Ticket;

/// Most text of one negotiation step, over all its PDUs.
const MAX_TEXT: usize = 64 << 10;
/// Steps that a login may take: an initiator that goes on for ever is not logging in.
const MAX_STEPS: u32 = 64;

/// RFC 7143 11.13.5.
const INITIATOR_ERROR: u16 = 0x0200;
const AUTHENTICATION: u16 = 0x0201;
const VERSION: u16 = 0x0205;
const MISSING: u16 = 0x0207;
const SESSION_TYPE: u16 = 0x0209;
const NO_SESSION: u16 = 0x020a;

const SECURITY: u8 = 0;
const OPERATIONAL: u8 = 1;
const FULL: u8 = 3;

/// Who logs in to what.
#[derive(Debug, Clone)]
struct Identity {
    login: LoginRequest,
    discovery: bool,
}

/// How far authentication has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Security {
    /// No method yet.
    Open,
    /// CHAP was chosen, its algorithm not.
    Method,
    /// We have sent a challenge.
    Challenged(Algorithm),
    /// Nothing more is needed.
    Passed,
}

/// A login under way.
#[derive(Debug)]
pub(super) struct Login {
    text: Vec<u8>,
    first: Option<request::Login>,
    identity: Option<Identity>,
    grant: Option<Box<Grant>>,
    security: Security,
    stage: Option<u8>,
    /// The request that waits for the service's answer.
    waiting: Option<(Ticket, request::Login, Pairs)>,
    /// MaxRecvDataSegmentLength was sent.
    declared: bool,
    /// TargetPortalGroupTag was sent.
    told_group: bool,
    steps: u32,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            first: None,
            identity: None,
            grant: None,
            security: Security::Open,
            stage: None,
            waiting: None,
            declared: false,
            told_group: false,
            steps: 0,
        }
    }
}

/// Keys with their values.
type Pairs = Vec<(String, String)>;

type Step<T> = Result<T, Refusal>;

fn refuse<T>(status: u16, reason: impl Into<String>) -> Step<T> {
    Err(Refusal::new(status, reason))
}

/// iPXE and gPXE number their sessions under Fen Systems' enterprise number, 10019 (ISID type EN, RFC 7143 11.12.5). Operating
/// systems use an OUI or a random number.
fn is_firmware(isid: [u8; 6]) -> bool {
    isid[..4] == [0x40, 0x00, 0x27, 0x23]
}

impl Login {
    pub(super) fn pdu(&mut self, core: &mut Core, raw: Raw<'_>) {
        let Pdu::Login(login) = Pdu::decode(raw.bhs) else {
            // Nothing else is allowed, and there is nobody yet to explain it to.
            core.closing = true;
            return;
        };
        let step = self.step(core, &login, raw.data);
        if let Err(refusal) = step {
            self.fail(core, &login, refusal);
        }
    }

    fn step(&mut self, core: &mut Core, login: &request::Login, data: &[u8]) -> Step<()> {
        if self.waiting.is_some() {
            return refuse(INITIATOR_ERROR, "sent a login request before the last one was answered");
        }
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return refuse(INITIATOR_ERROR, "the login takes too many steps");
        }
        match &self.first {
            None => {
                core.start_numbers(login.cmd_sn, login.exp_stat_sn);
                if login.version_min > 0 {
                    return refuse(VERSION, format!("speaks iSCSI version {} or later only", login.version_min));
                }
                if login.tsih != 0 {
                    let tsih = login.tsih;
                    return refuse(NO_SESSION, format!("wants to join session {tsih}, which cannot take a connection"));
                }
                self.first = Some(login.clone());
            }
            Some(first) if (first.isid, first.cid, first.tsih) != (login.isid, login.cid, login.tsih) => {
                return refuse(INITIATOR_ERROR, "changed its session identifier during login");
            }
            Some(_) => {}
        }
        if login.transit && login.more {
            return refuse(INITIATOR_ERROR, "a login request that is both unfinished and ready for the next stage");
        }
        if self.text.len() + data.len() > MAX_TEXT {
            return refuse(INITIATOR_ERROR, format!("more than {MAX_TEXT} bytes of text in one login step"));
        }
        self.text.extend_from_slice(data);
        self.check_stage(login)?;
        if login.more {
            self.reply(core, login, &[], false);
            return Ok(());
        }
        let pairs = text::parse(&std::mem::take(&mut self.text))
            .map_err(|error| Refusal::new(INITIATOR_ERROR, error.to_string()))?;
        if self.identity.is_some() {
            return self.advance(core, login, &pairs);
        }
        let identity = identify(core, login, &pairs)?;
        let normal = (!identity.discovery).then(|| identity.login.clone());
        self.identity = Some(identity);
        match normal {
            Some(request) => {
                let ticket = core.request(Request::Authorize(Box::new(request)));
                self.waiting = Some((ticket, login.clone(), pairs));
                Ok(())
            }
            None => self.advance(core, login, &pairs),
        }
    }

    fn check_stage(&mut self, login: &request::Login) -> Step<()> {
        let stage_ok = matches!(login.stage, SECURITY | OPERATIONAL) && self.stage.is_none_or(|s| s == login.stage);
        let next_ok = !login.transit || login.next > login.stage && matches!(login.next, OPERATIONAL | FULL);
        if !stage_ok || !next_ok {
            let (stage, next) = (login.stage, login.next);
            return refuse(INITIATOR_ERROR, format!("a login request of stage {stage} to {next} is out of order"));
        }
        self.stage = Some(login.stage);
        Ok(())
    }

    /// The gate has answered.
    pub(super) fn authorized(&mut self, core: &mut Core, ticket: Ticket, answer: Result<Box<Grant>, Refusal>) {
        let Some((_, login, pairs)) = self.waiting.take_if(|w| w.0 == ticket) else { return };
        let step = answer.and_then(|grant| {
            self.grant = Some(grant);
            self.advance(core, &login, &pairs)
        });
        if let Err(refusal) = step {
            self.fail(core, &login, refusal);
        }
    }

    /// The session has been made.
    pub(super) fn opened(
        &mut self,
        core: &mut Core,
        ticket: Ticket,
        answer: Result<Opened, Refusal>,
    ) -> Option<Session> {
        let (_, login, pairs) = self.waiting.take_if(|w| w.0 == ticket)?;
        let opened = match answer {
            Ok(opened) => opened,
            Err(refusal) => {
                self.fail(core, &login, refusal);
                return None;
            }
        };
        let identity = self.identity.take()?;
        let mut reply = Vec::new();
        for (key, value) in &pairs {
            text::push(&mut reply, key, value);
        }
        self.respond(core, &login, &reply, true, opened.tsih, 0);
        core.params.settle();
        let params = &core.params;
        let (header_digest, data_digest) = (params.header_digest, params.data_digest);
        core.receiving = Framing { header_digest, data_digest, max_data: MAX_RECV };
        core.sending = core.receiving;
        let who = self.grant.as_ref().map(|g| g.who.clone());
        if let Some(grant) = &self.grant {
            let kind = EventKind::IscsiLogin {
                initiator: identity.login.initiator.clone(),
                target: identity.login.target.clone(),
                disk: grant.disk.clone(),
                firmware: identity.login.firmware,
                session: opened.tsih,
            };
            core.event(who.as_ref(), kind);
        }
        Some(Session::new(identity.login, who, login.cid, opened))
    }

    /// One whole request: answer its keys, and step on if both sides are ready.
    fn advance(&mut self, core: &mut Core, login: &request::Login, pairs: &[(String, String)]) -> Step<()> {
        let Some(identity) = self.identity.clone() else { return refuse(MISSING, "no InitiatorName") };
        let mut reply: Vec<(String, String)> = Vec::new();
        if !self.told_group && !identity.discovery {
            self.told_group = true;
            reply.push(("TargetPortalGroupTag".into(), "1".into()));
        }
        for (key, _) in pairs {
            match (place(key), login.stage) {
                (Place::Security, OPERATIONAL) | (Place::Operational, SECURITY) => {
                    return refuse(INITIATOR_ERROR, format!("the key {key} is out of order in this login stage"));
                }
                (Place::Session, _) => {
                    return refuse(INITIATOR_ERROR, format!("the key {key} belongs after the login"));
                }
                (Place::Unknown, _) => reply.push((key.clone(), "NotUnderstood".into())),
                _ => {}
            }
        }
        let ready = if login.stage == SECURITY {
            self.security(core, pairs, &mut reply)?
        } else {
            if self.security != Security::Passed {
                if self.grant.as_ref().is_some_and(|g| g.chap.is_some()) {
                    return refuse(AUTHENTICATION, "skipped authentication, but the disk asks for CHAP");
                }
                self.security = Security::Passed;
            }
            for (key, value) in pairs.iter().filter(|(key, _)| place(key) == Place::Operational) {
                if let Reply::Value(value) = core.params.offer(key, value, identity.discovery) {
                    reply.push((key.clone(), value));
                }
            }
            if !self.declared {
                self.declared = true;
                reply.retain(|(key, _)| key != "MaxRecvDataSegmentLength");
                reply.push(("MaxRecvDataSegmentLength".into(), MAX_RECV.to_string()));
            }
            true
        };
        if ready && login.transit && login.next == FULL {
            // The reply waits until the session is made: it carries its handle.
            let (asks, grant) = (Box::new(identity.login.clone()), self.grant.clone());
            let ticket = core.request(Request::Open { login: asks, grant, isid: login.isid });
            self.waiting = Some((ticket, login.clone(), reply));
            return Ok(());
        }
        if ready && login.transit {
            self.stage = Some(login.next);
        }
        self.reply(core, login, &reply, ready && login.transit);
        Ok(())
    }

    /// Security stage; whether it is over for our part.
    fn security(
        &mut self,
        core: &mut Core,
        pairs: &[(String, String)],
        reply: &mut Vec<(String, String)>,
    ) -> Step<bool> {
        let get = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let chap = self.grant.as_ref().and_then(|g| g.chap.clone());
        if let Some(methods) = get("AuthMethod") {
            if self.security != Security::Open {
                return refuse(INITIATOR_ERROR, "AuthMethod came twice");
            }
            let offers = |method| methods.split(',').any(|m| m == method);
            match &chap {
                Some(_) if offers("CHAP") => {
                    self.security = Security::Method;
                    reply.push(("AuthMethod".into(), "CHAP".into()));
                }
                Some(_) => return refuse(AUTHENTICATION, "offers no CHAP, but the disk asks for it"),
                None if offers("None") => {
                    self.security = Security::Passed;
                    reply.push(("AuthMethod".into(), "None".into()));
                }
                None => {
                    return refuse(
                        AUTHENTICATION,
                        "insists on authentication, but the disk has no CHAP user and secret",
                    );
                }
            }
            return Ok(self.security == Security::Passed);
        }
        let Some(chap) = chap else {
            self.security = Security::Passed;
            return Ok(true);
        };
        match self.security {
            Security::Passed => Ok(true),
            // Nothing said yet: the initiator may only have wanted to say who it is.
            Security::Open if get("CHAP_A").is_none() => Ok(false),
            Security::Open => refuse(INITIATOR_ERROR, "CHAP_A before AuthMethod: the keys are out of order"),
            Security::Method => {
                let Some(list) = get("CHAP_A") else {
                    return refuse(INITIATOR_ERROR, "CHAP_A is missing after AuthMethod=CHAP");
                };
                let Some(algorithm) = Algorithm::choose(list) else {
                    return refuse(AUTHENTICATION, format!("offers no CHAP algorithm of ours in `{list}`: 5, 6, 7, 8"));
                };
                let (id, challenge) = challenge(core, algorithm);
                reply.push(("CHAP_A".into(), algorithm.code().into()));
                reply.push(("CHAP_I".into(), id.to_string()));
                reply.push(("CHAP_C".into(), text::hex(challenge)));
                self.security = Security::Challenged(algorithm);
                Ok(false)
            }
            Security::Challenged(algorithm) => {
                let (Some(name), Some(response)) = (get("CHAP_N"), get("CHAP_R").and_then(text::binary)) else {
                    return refuse(AUTHENTICATION, "CHAP_N and CHAP_R are missing or unreadable");
                };
                let (id, challenge) = challenge(core, algorithm);
                let secret = chap.secret.expose().as_bytes();
                let right = algorithm.respond(id, secret, challenge);
                if !same(&response, &right) || !same(name.as_bytes(), chap.user.as_bytes()) {
                    return refuse(AUTHENTICATION, format!("wrong CHAP user or secret (user `{name}`)"));
                }
                match (get("CHAP_I"), get("CHAP_C")) {
                    (None, None) => {}
                    (Some(theirs), Some(question)) => {
                        let Some((our_name, our_secret)) = &chap.mutual else {
                            return refuse(
                                AUTHENTICATION,
                                "wants mutual CHAP, but the disk has no mutual-user and mutual-secret",
                            );
                        };
                        let (Ok(theirs), Some(question)) = (theirs.parse::<u8>(), text::binary(question)) else {
                            return refuse(INITIATOR_ERROR, "CHAP_I or CHAP_C is unreadable");
                        };
                        // RFC 7143 12.1.3: a challenge that is ours sent back, or one secret for both ways, proves nothing.
                        if same(&question, challenge) || same(our_secret.expose().as_bytes(), secret) {
                            return refuse(
                                AUTHENTICATION,
                                "mutual CHAP with our own challenge, or with the same secret both ways",
                            );
                        }
                        let answer = algorithm.respond(theirs, our_secret.expose().as_bytes(), &question);
                        reply.push(("CHAP_N".into(), our_name.clone()));
                        reply.push(("CHAP_R".into(), text::hex(&answer)));
                    }
                    _ => return refuse(INITIATOR_ERROR, "mutual CHAP needs both CHAP_I and CHAP_C"),
                }
                self.security = Security::Passed;
                Ok(true)
            }
        }
    }

    fn reply(&self, core: &mut Core, login: &request::Login, pairs: &[(String, String)], transit: bool) {
        let mut reply = Vec::new();
        for (key, value) in pairs {
            text::push(&mut reply, key, value);
        }
        self.respond(core, login, &reply, transit, 0, 0);
    }

    fn respond(&self, core: &mut Core, login: &request::Login, reply: &[u8], transit: bool, tsih: u16, status: u16) {
        let at = core.advance();
        let response = Response::Login {
            transit,
            more: false,
            stage: login.stage,
            next: if transit { login.next } else { 0 },
            isid: login.isid,
            tsih,
            itt: login.itt,
            at,
            status,
        };
        let payload = if reply.is_empty() { Payload::None } else { Payload::Owned(reply.to_vec()) };
        core.send(&response, payload);
    }

    fn fail(&mut self, core: &mut Core, login: &request::Login, refusal: Refusal) {
        let mut reply = Vec::new();
        if let Some(to) = refusal.redirect {
            // RFC 7143 11.13.5: without the portal group tag, which iPXE would read as part of the port.
            text::push(&mut reply, "TargetAddress", &to.to_string());
        }
        self.respond(core, login, &reply, false, 0, refusal.status);
        let (initiator, target) =
            self.identity.as_ref().map(|i| (i.login.initiator.clone(), i.login.target.clone())).unwrap_or_default();
        let who = self.grant.as_ref().map(|g| g.who.clone());
        let kind = match refusal.redirect {
            Some(to) => EventKind::IscsiRedirected { initiator, target, to },
            None => EventKind::IscsiRefused { initiator, target, status: refusal.status, reason: refusal.reason },
        };
        core.event(who.as_ref(), kind);
        core.closing = true;
    }
}

fn challenge(core: &Core, algorithm: Algorithm) -> (u8, &[u8]) {
    let (id, bytes) = core.ends.entropy.split_first().unwrap_or((&0, &[]));
    (*id, bytes.get(..algorithm.len()).unwrap_or_default())
}

/// Who it is, from the first request.
fn identify(core: &Core, login: &request::Login, pairs: &[(String, String)]) -> Step<Identity> {
    let get = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let Some(initiator) = get("InitiatorName").filter(|n| (1..=223).contains(&n.len())) else {
        return refuse(MISSING, "the first login request names no initiator (InitiatorName)");
    };
    let discovery = match get("SessionType").as_deref() {
        None | Some("Normal") => false,
        Some("Discovery") => true,
        Some(other) => return refuse(SESSION_TYPE, format!("SessionType={other} is neither Normal nor Discovery")),
    };
    let target = match get("TargetName").filter(|n| (1..=223).contains(&n.len())) {
        Some(target) => target.to_lowercase(),
        None if discovery => String::new(),
        None => return refuse(MISSING, "the first login request names no target (TargetName)"),
    };
    let request = LoginRequest { initiator, target, peer: core.ends.peer.ip(), firmware: is_firmware(login.isid) };
    Ok(Identity { login: request, discovery })
}
