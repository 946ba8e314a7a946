//! Logins: stages, refusals, CHAP.

use super::*;

#[test]
fn a_login_without_authentication_goes_through_both_stages() {
    let mut b = bench();
    let (status, transit, keys) = b.login(0, Some(1), &format!("{NAMES} AuthMethod=CHAP,None"));
    assert_eq!((status, transit), (0, true));
    assert_eq!(value(&keys, "AuthMethod").as_deref(), Some("None"));
    assert_eq!(value(&keys, "TargetPortalGroupTag").as_deref(), Some("1"));
    assert_eq!(b.login.as_ref().map(|l| (l.target.as_str(), l.firmware)), Some(("iqn.t", false)));
    let (status, transit, keys) =
        b.login(1, Some(3), "MaxBurstLength=262144 X-com.example=1 HeaderDigest=None MaxRecvDataSegmentLength=8192");
    assert_eq!((status, transit), (0, true));
    assert_eq!(value(&keys, "MaxBurstLength").as_deref(), Some("262144"));
    assert_eq!(value(&keys, "X-com.example").as_deref(), Some("NotUnderstood"));
    assert_eq!(value(&keys, "MaxRecvDataSegmentLength"), Some(MAX_RECV.to_string()));
    assert!(matches!(b.events[..], [EventKind::IscsiLogin { session: 9, .. }]));
    assert_eq!(b.connection.framing().max_data, MAX_RECV);
}

#[test]
fn ipxe_is_told_apart_by_its_session_identifier() {
    let mut b = bench();
    b.isid = IPXE_ISID;
    b.login(0, Some(1), &format!("{NAMES} AuthMethod=None"));
    assert!(b.login.is_some_and(|l| l.firmware));
}

#[test]
fn logins_that_break_the_rules_are_refused_with_their_status() {
    let refused = |stage, next, keys: &str| {
        let mut b = bench();
        let (status, ..) = b.login(stage, next, keys);
        assert!(b.closed && matches!(b.events[..], [EventKind::IscsiRefused { .. }]), "{keys}");
        status
    };
    assert_eq!(refused(0, Some(1), "TargetName=iqn.t"), 0x0207);
    assert_eq!(refused(0, Some(1), "InitiatorName=iqn.i"), 0x0207);
    assert_eq!(refused(0, Some(1), "InitiatorName=iqn.i SessionType=Odd"), 0x0209);
    // Keys out of order: an operational one in the security stage, and the reverse.
    assert_eq!(refused(0, Some(1), &format!("{NAMES} MaxBurstLength=512")), 0x0200);
    assert_eq!(refused(1, Some(3), &format!("{NAMES} AuthMethod=None")), 0x0200);
    assert_eq!(refused(1, Some(3), &format!("{NAMES} SendTargets=All")), 0x0200);
    // Stages out of order, and a text that is none.
    assert_eq!(refused(1, Some(1), NAMES), 0x0200);
    assert_eq!(refused(0, Some(2), NAMES), 0x0200);
    assert_eq!(refused(3, None, NAMES), 0x0200);
    assert_eq!(refused(0, Some(1), &format!("{NAMES} nonsense")), 0x0200);
    assert_eq!(refused(0, Some(1), &format!("{NAMES} SessionType=Normal")), 0x0200);
    let mut b = bench();
    b.refuse = Some(0x0202);
    assert_eq!(b.login(0, Some(1), NAMES).0, 0x0202);
}

#[test]
fn chap_both_ways_with_each_hash_even_where_the_initiator_always_wants_to_go_on() {
    for (offered, chosen) in [("5", "5"), ("6", "6"), ("7,5", "7"), ("8,7,6,5", "8"), ("99,6,5", "6")] {
        let mut b = bench();
        b.chap = Some(chap(Some("othersecret1")));
        let (_, transit, keys) = b.login(0, Some(1), &format!("{NAMES} AuthMethod=CHAP,None"));
        assert_eq!((transit, value(&keys, "AuthMethod").as_deref()), (false, Some("CHAP")));
        let (_, transit, keys) = b.login(0, Some(1), &format!("CHAP_A={offered}"));
        assert_eq!((transit, value(&keys, "CHAP_A").as_deref()), (false, Some(chosen)));
        let question = text::binary(&value(&keys, "CHAP_C").unwrap()).unwrap();
        let id = value(&keys, "CHAP_I").unwrap().parse().unwrap();
        let algorithm = super::chap::Algorithm::choose(chosen).unwrap();
        let response = text::hex(&algorithm.respond(id, b"topsecret123", &question));
        let (status, transit, keys) =
            b.login(0, Some(1), &format!("CHAP_N=u CHAP_R={response} CHAP_I=5 CHAP_C=0b3q2+7w=="));
        assert_eq!((status, transit), (0, true));
        assert_eq!(value(&keys, "CHAP_N").as_deref(), Some("t"));
        let answer = algorithm.respond(5, b"othersecret1", &[0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(value(&keys, "CHAP_R"), Some(text::hex(&answer)));
        assert_eq!(b.login(1, Some(3), "MaxBurstLength=512").0, 0);
    }
}

#[test]
fn a_chap_name_is_text_even_if_it_looks_like_a_number() {
    let attempt = |user: &str, given: &str, base64: bool| {
        let mut b = bench();
        b.chap = Some(Chap { user: user.into(), ..chap(None) });
        b.login(0, Some(1), &format!("{NAMES} AuthMethod=CHAP"));
        let (_, _, keys) = b.login(0, Some(1), "CHAP_A=5");
        let challenge = text::binary(&value(&keys, "CHAP_C").unwrap()).unwrap();
        let id = value(&keys, "CHAP_I").unwrap().parse().unwrap();
        let response = super::chap::Algorithm::Md5.respond(id, b"topsecret123", &challenge);
        // A response may come in either form of a number.
        let response = if base64 { base64_of(&response) } else { text::hex(&response) };
        b.login(0, Some(1), &format!("CHAP_N={given} CHAP_R={response}")).0
    };
    for user in ["u", "0xu", "0bu", "0x75", "0bdQ=="] {
        assert_eq!(attempt(user, user, false), 0, "{user}");
        assert_eq!(attempt(user, user, true), 0, "{user}");
    }
    // Numbers of the same value are other names.
    for (user, given) in [("u", "0x75"), ("0x75", "u"), ("0x75", "0X75"), ("u", "0bdQ==")] {
        assert_eq!(attempt(user, given, false), 0x0201, "{user} {given}");
    }
}

fn base64_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "0b".to_owned();
    for three in bytes.chunks(3) {
        let bits = three.iter().chain(&[0, 0]).take(3).fold(0_u32, |n, &b| n << 8 | u32::from(b));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char;
            text.push(if at <= three.len() { digit } else { '=' });
        }
    }
    text
}

#[test]
fn chap_that_proves_nothing_is_refused() {
    let attempt = |mutual: Option<&str>, secret: &[u8], user: &str, back: &str| {
        let mut b = bench();
        b.chap = Some(chap(mutual));
        b.login(0, Some(1), &format!("{NAMES} AuthMethod=CHAP"));
        let (_, _, keys) = b.login(0, Some(1), "CHAP_A=5");
        let challenge = value(&keys, "CHAP_C").unwrap();
        let id = value(&keys, "CHAP_I").unwrap().parse().unwrap();
        let md5 = super::chap::Algorithm::Md5;
        let response = text::hex(&md5.respond(id, secret, &text::binary(&challenge).unwrap()));
        let back = back.replace("OURS", &challenge);
        b.login(0, Some(1), &format!("CHAP_N={user} CHAP_R={response} {back}")).0
    };
    assert_eq!(attempt(None, b"topsecret123", "u", ""), 0);
    assert_eq!(attempt(None, b"wrong", "u", ""), 0x0201);
    assert_eq!(attempt(None, b"topsecret123", "other", ""), 0x0201);
    assert_eq!(attempt(None, b"topsecret123", "u", "CHAP_I=1 CHAP_C=0x01"), 0x0201);
    assert_eq!(attempt(Some("othersecret1"), b"topsecret123", "u", "CHAP_I=1 CHAP_C=OURS"), 0x0201);
    assert_eq!(attempt(Some("topsecret123"), b"topsecret123", "u", "CHAP_I=1 CHAP_C=0x01"), 0x0201);
    for (stage, keys) in [(0, "AuthMethod=None"), (1, ""), (0, "CHAP_A=5 AuthMethod=None")] {
        let mut b = bench();
        b.chap = Some(chap(None));
        assert_eq!(b.login(stage, Some(3), &format!("{NAMES} {keys}")).0, 0x0201, "{keys}");
    }
}

#[test]
fn a_login_text_may_come_in_pieces_but_not_without_end() {
    let mut b = bench();
    let piece = |b: &mut Bench, more: bool, data: &[u8]| {
        let login = LoginPdu {
            transit: !more,
            more,
            stage: 1,
            next: 3,
            version_max: 0,
            version_min: 0,
            isid: b.isid,
            tsih: 0,
            itt: 0,
            cid: 0,
            cmd_sn: 7,
            exp_stat_sn: 0,
        };
        b.send(&Pdu::Login(login), data);
        b.take().pop()
    };
    let half = piece(&mut b, true, b"InitiatorName=iqn.i\0Target");
    assert!(matches!(half, Some((Response::Login { transit: false, status: 0, .. }, _))));
    let whole = piece(&mut b, false, b"Name=iqn.t\0");
    assert!(matches!(whole, Some((Response::Login { transit: true, status: 0, tsih: 9, .. }, _))));
    let mut b = bench();
    let last = (0..20).map_while(|_| piece(&mut b, true, &[b'A'; 8000])).last();
    assert!(matches!(last, Some((Response::Login { status: 0x0200, .. }, _))));
}

#[test]
fn a_login_that_hangs_is_dropped_and_others_are_not_let_in_late() {
    let mut b = bench();
    b.now = LOGIN_TIMEOUT;
    b.input(Input::Tick);
    assert!(b.closed);
    let mut b = bench();
    b.send(&Pdu::NopOut(NopOut { immediate: true, lun: [0; 8], itt: 1, ttt: NO_TAG, cmd_sn: 0, exp_stat_sn: 0 }), &[]);
    assert!(b.closed && b.got.is_empty());
}
