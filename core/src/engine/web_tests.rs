//! What a machine is told over HTTP, from its first script to the end of its installation.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::bench::{A, B, Bench, IP_A, IP_B, answer, answer_at, path_in};
use super::web::Web;
use crate::api::{Command, Event, EventKind, Stage, Who};
use crate::boot::PlanNetwork;
use crate::http::{self, App};
use crate::lab::{Boot, Install, InstallThen, IscsiBoot, IscsiVia, Unknown};

const BOOT_A: &str = "/boot/52-54-00-00-00-01";

fn install(profile: &str) -> Boot {
    Boot::Install(Install { profile: profile.parse().unwrap(), then: InstallThen::Local })
}

fn host(boot: &str) -> String {
    format!(
        "# the one at the window\n[[host]]\nmac = \"52:54:00:00:00:01\"\nname = \"pc-1\"\nboot = {boot} # until Monday\n"
    )
}

#[tokio::test]
async fn a_machine_gets_its_script_and_no_other_machine_gets_it() {
    let bench = Bench::new(&host("{ iscsi = \"kept\" }")).await;
    bench.addressed(A, IP_A).await;
    bench.addressed(B, IP_B).await;
    let (status, entry) = bench.get(IP_A, &format!("{BOOT_A}/boot.ipxe")).await;
    assert_eq!(status, 200);
    assert!(entry.contains(&format!("http://192.168.2.1{BOOT_A}/script.ipxe?uuid=${{uuid}}")), "{entry}");
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    assert!(script.contains("sanboot iscsi:192.168.2.1::"), "{script}");
    let (status, why) = bench.get(IP_B, &format!("{BOOT_A}/script.ipxe")).await;
    assert_eq!((status, why.as_str()), (403, "192.168.2.22 is 52:54:00:00:00:02's address, not 52:54:00:00:00:01's"));
}

/// Other windows and scripts are told the same events.
#[tokio::test]
async fn an_engine_inside_of_a_german_window_tells_english_events() {
    use crate::lang::{Language, speak_here};
    speak_here(Language::German);
    let bench = Bench::new(&host("{ iscsi = \"kept\" }")).await;
    bench.addressed(A, IP_A).await;
    bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    let events = bench.events().await;
    let because: Vec<&String> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::ScriptServed { because, .. } => Some(because),
            _ => None,
        })
        .collect();
    assert_eq!(because, ["the entry of pc-1 in lab.toml says so"]);
    speak_here(Language::English);
}

#[tokio::test]
async fn xens_configuration_is_as_private_as_the_script() {
    let xen = "[[profile]]\nname = \"xen\"\nkernel = \"linux\"\ninitrd = [\"initrd.gz\"]\nhypervisor-efi = \"linux\"\n\
        hypervisor-args = \"dom0_mem=1G\"\n[[disk]]\nname = \"private\"\nimage = \"golden.raw\"\n\
        chap = { user = \"u\", secret = \"s3cret-s3cret\" }\n";
    let bench = Bench::new(&format!("{xen}{}", host("{ iscsi = \"private\", profile = \"xen\" }"))).await;
    bench.addressed(A, IP_A).await;
    bench.addressed(B, IP_B).await;
    let (status, config) = bench.get(IP_A, &format!("{BOOT_A}/xen.cfg")).await;
    assert_eq!(status, 200, "{config}");
    assert!(config.contains("options=dom0_mem=1G\nkernel=dom0-kernel iscsi_initiator="), "{config}");
    assert!(config.contains("iscsi_password=s3cret-s3cret\nramdisk=dom0-initrd\n"), "{config}");
    assert_eq!(bench.get(IP_B, &format!("{BOOT_A}/xen.cfg")).await.0, 403);
    assert_eq!(bench.get(IP_B, "/boot/52-54-00-00-00-02/xen.cfg").await.0, 404, "it is assigned no Xen");
    let (status, file) = bench.get(IP_B, "/media/xen/hypervisor/efi/linux").await;
    assert!(status == 200 && file.ends_with("media/linux"), "{file}");
}

#[tokio::test]
async fn answers_open_with_their_token_for_their_machine_until_its_next_boot() {
    let bench = Bench::new(&host("{ install = \"debian\" }")).await;
    bench.addressed(A, IP_A).await;
    bench.addressed(B, IP_B).await;
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    let answers = path_in(&script, "/answers/");
    assert_eq!(bench.get(IP_A, "/answers/52-54-00-00-00-01/0123/preseed.cfg").await.0, 403);
    assert_eq!(bench.get(IP_B, &answers).await.0, 403);
    let stolen = answers.replace("52-54-00-00-00-01", "52-54-00-00-00-02");
    assert_eq!(bench.get(IP_B, &stolen).await.0, 403);
    assert!(bench.toml().contains("install"), "a refused request is no proof");
    let (status, text) = bench.get(IP_A, &answers).await;
    assert_eq!((status, text.as_str()), (200, "d-i netcfg/get_hostname string pc-1\n"));
    assert_eq!(bench.get(IP_A, &answers).await.0, 200, "an installer may read it twice");
    bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    assert_eq!(bench.get(IP_A, &answers).await.0, 403, "the next boot ends it");
}

#[tokio::test]
async fn an_installation_is_consumed_by_its_answer_file_and_comments_stay() {
    let bench = Bench::new(&host("{ install = \"debian\", then = { iscsi = \"kept\" } }")).await;
    bench.addressed(A, IP_A).await;
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    // The kernel could not be loaded: nothing was erased, and it is tried again.
    bench.get(IP_A, &format!("{BOOT_A}/error?step=kernel&code=0x2d0c618e")).await;
    Web(bench.shared.clone()).delivered(&Who::ip(IP_A), "/media/debian/initrd/0/initrd.gz");
    bench.events().await;
    assert!(bench.toml().contains("install = \"debian\""), "with an answer file, that alone is the proof");
    bench.get(IP_A, &path_in(&script, "/answers/")).await;
    bench.toml_says("boot = { iscsi = \"kept\" } # until Monday").await;
    assert!(bench.toml().contains("# the one at the window"));
    bench.toml_says("iscsi").await;
    for _ in 0..1000 {
        let next: Vec<Boot> = bench
            .events()
            .await
            .iter()
            .filter_map(|e| match &e.kind {
                EventKind::InstallConsumed { next, .. } => Some(next.clone()),
                _ => None,
            })
            .collect();
        if !next.is_empty() {
            assert_eq!(next[0].to_string(), "iscsi kept");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("its end was not told");
}

/// Behind a relay, and beside another server whose answer nobody hears: its address says nothing of its network.
#[tokio::test]
async fn a_machine_that_its_network_erased_gets_an_entry_whatever_is_known_of_its_address() {
    for (ip, told) in [([10, 1, 0, 20], true), ([192, 168, 3, 20], false), ([172, 16, 0, 9], true)] {
        let bench = Bench::new("").await;
        let (ip, server) = (Ipv4Addr::from(ip), Ipv4Addr::new(192, 168, 3, 1));
        bench.shared.change_plan(|plan| {
            let lab = Arc::make_mut(&mut plan.lab);
            let mut second = lab.networks[0].clone();
            (second.interface, second.address) = ("bench1".into(), Some("192.168.3.1/24".parse().unwrap()));
            second.unknown =
                Unknown::Boot(Boot::Install(Install { profile: "debian".parse().unwrap(), then: InstallThen::Local }));
            lab.networks.push(second);
            let network = PlanNetwork {
                index: 1,
                interface: "bench1".into(),
                ifindex: 2,
                address: "192.168.3.1/24".parse().unwrap(),
                ..plan.networks[0].clone()
            };
            plan.networks.push(network);
        });
        if told {
            bench.addressed(A, ip).await;
        }
        let get = async |url: String| answer_at(&bench.shared, server, ip, &url, "iPXE/1.21.1").await;
        let (_, script) = get(format!("{BOOT_A}/script.ipxe")).await;
        let answers = path_in(&script, "/answers/");
        assert_eq!(get(answers).await.0, 200);
        bench.toml_says("boot = \"local\"").await;
        assert!(bench.toml().contains(&A.to_string()), "{}", bench.toml());
    }
}

#[tokio::test]
async fn without_answers_the_last_initrd_is_the_proof() {
    let bench = Bench::new(&host("{ install = \"live\" }")).await;
    bench.addressed(A, IP_A).await;
    bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    let web = Web(bench.shared.clone());
    web.delivered(&Who::ip(IP_A), "/media/live/kernel/linux");
    bench.events().await;
    assert!(bench.toml().contains("install = \"live\""));
    web.delivered(&Who::ip(IP_A), "/media/live/initrd/0/initrd.gz");
    bench.toml_says("boot = \"local\"").await;
}

#[tokio::test]
async fn an_answer_file_that_the_arguments_point_away_from_is_no_proof() {
    let bench = Bench::new(&host("{ install = \"debian\" }")).await;
    let toml = bench.toml().replace("answers = ", "args = \"url=http://elsewhere/p.cfg\"\nanswers = ");
    std::fs::write(bench.dir.path().join("lab.toml"), toml).unwrap();
    bench.call(Command::Reload).await.unwrap();
    bench.addressed(A, IP_A).await;
    bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    Web(bench.shared.clone()).delivered(&Who::ip(IP_A), "/media/debian/initrd/0/initrd.gz");
    bench.toml_says("boot = \"local\"").await;
}

#[tokio::test]
async fn a_broken_lab_does_not_install_a_machine_twice() {
    let bench = Bench::new(&host("{ install = \"debian\" }")).await;
    bench.addressed(A, IP_A).await;
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    let good = bench.toml();
    std::fs::write(bench.dir.path().join("lab.toml"), format!("{good}\nhuh")).unwrap();
    bench.get(IP_A, &path_in(&script, "/answers/")).await;
    for _ in 0..1000 {
        if bench.handle().snapshot().findings.iter().any(|f| f.id == "lab-not-written") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    assert!(!script.contains("/media/debian/kernel"), "it boots what follows:\n{script}");
    std::fs::write(bench.dir.path().join("lab.toml"), good).unwrap();
    bench.toml_says("boot = \"local\"").await;
}

#[tokio::test]
async fn a_waiting_machine_goes_on_within_a_second_of_the_click() {
    let bench = Bench::new("").await;
    bench.addressed(A, IP_A).await;
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    assert!(script.contains("waiting for a technician"), "{script}");
    let shared = bench.shared.clone();
    let held = tokio::spawn(async move { answer(&shared, IP_A, &format!("{BOOT_A}/wait.ipxe"), "iPXE/1.21.1").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!held.is_finished());
    bench.assign(A, install("live")).await;
    let (_, script) = tokio::time::timeout(Duration::from_secs(1), held).await.unwrap().unwrap();
    assert!(script.contains("/media/live/kernel/linux"), "{script}");
}

#[tokio::test]
async fn a_machine_that_waits_since_before_the_engine_was_started_is_seen_to_wait() {
    let bench = Bench::new("").await;
    bench.addressed(A, IP_A).await;
    bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    let bench = bench.reopened().await;
    let shared = bench.shared.clone();
    let held = tokio::spawn(async move { answer(&shared, IP_A, &format!("{BOOT_A}/wait.ipxe"), "iPXE/1.21.1").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.events().await;
    assert_eq!(bench.handle().snapshot().hosts[0].stage, Stage::Waiting);
    held.abort();
}

#[tokio::test]
async fn only_a_machine_with_a_menu_may_choose_and_its_choice_is_no_assignment() {
    let bench = Bench::new(&host("\"menu\"")).await;
    bench.addressed(A, IP_A).await;
    bench.addressed(B, IP_B).await;
    let (_, menu) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe")).await;
    assert!(menu.contains("item install:live"), "{menu}");
    let choose = format!("{BOOT_A}/choose.ipxe?to=install:live");
    let (_, script) = bench.get(IP_A, &choose).await;
    assert!(script.contains("/media/live/kernel/linux"), "{script}");
    Web(bench.shared.clone()).delivered(&Who::ip(IP_A), "/media/live/initrd/0/initrd.gz");
    bench.events().await;
    assert!(bench.toml().contains("boot = \"menu\""));
    let (_, script) = bench.get(IP_B, "/boot/52-54-00-00-00-02/choose.ipxe?to=install:live").await;
    assert!(!script.contains("/media/live"), "without a menu there is no choice:\n{script}");
}

#[tokio::test]
async fn who_chose_to_wait_waits() {
    let bench = Bench::new(&host("\"menu\"")).await;
    bench.addressed(A, IP_A).await;
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/choose.ipxe?to=wait")).await;
    let wait = path_in(&script, &format!("{BOOT_A}/wait.ipxe"));
    for (url, agent) in [(wait, "iPXE/1.21.1"), (format!("{BOOT_A}/wait.ipxe"), "gPXE/1.0.1")] {
        let held = tokio::time::timeout(Duration::from_millis(300), bench.get_as(IP_A, &url, agent)).await;
        assert!(held.is_err(), "{agent} at {url} got {held:?} at once");
    }
}

/// A machine chose to wait, which is over after a second; and where its wait is.
async fn chosen_wait() -> (Bench, String) {
    let bench = Bench::new(&host("\"menu\"")).await;
    let toml = bench.toml().replace("mode = \"dhcp\"", "mode = \"dhcp\"\nwait-timeout = \"1s\"");
    std::fs::write(bench.dir.path().join("lab.toml"), toml).unwrap();
    bench.call(Command::Reload).await.unwrap();
    bench.addressed(A, IP_A).await;
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/choose.ipxe?to=wait")).await;
    let wait = path_in(&script, &format!("{BOOT_A}/wait.ipxe"));
    (bench, wait)
}

#[tokio::test]
async fn who_chose_to_wait_goes_on_when_its_wait_is_over() {
    let (bench, wait) = chosen_wait().await;
    bench.get(IP_A, &wait).await;
    let events = bench.events().await;
    let given = events.iter().rev().find_map(|e| match &e.kind {
        EventKind::ScriptServed { boot, because, .. } => Some((boot.clone(), because.contains("wait-timeout"))),
        _ => None,
    });
    assert_eq!(given, Some((Boot::Local, true)));
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_wait_longer() {
    let (bench, wait) = chosen_wait().await;
    bench.events().await;
    // By that clock it has begun to wait an hour after now.
    for tracked in bench.shared.state().hosts.values_mut() {
        tracked.host.clock_set(jiff::SignedDuration::from_hours(1));
    }
    bench.get(IP_A, &wait).await;
    let events = bench.events().await;
    let over = |e: &std::sync::Arc<Event>| matches!(&e.kind, EventKind::ScriptServed { boot: Boot::Local, .. });
    assert!(events.iter().any(over), "{events:?}");
}

#[tokio::test]
async fn two_laptops_on_one_dock_get_each_its_own() {
    let uuid = |n: u8| format!("00000000-0000-4000-8000-00000000000{n}");
    let entry = |n, boot: &str| format!("[[host]]\nmac = \"{A}\"\nuuid = \"{}\"\nboot = {boot}\n", uuid(n));
    let bench = Bench::new(&(entry(1, "\"local\"") + &entry(2, "{ iscsi = \"kept\" }"))).await;
    bench.addressed(A, IP_A).await;
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe?uuid={}", uuid(2))).await;
    assert!(script.contains("sanboot iscsi:"), "{script}");
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe?uuid={}", uuid(1))).await;
    assert!(!script.contains("sanboot iscsi:"), "{script}");
    let (_, script) = bench.get(IP_A, &format!("{BOOT_A}/script.ipxe?uuid={}", uuid(3))).await;
    assert!(script.contains("waiting for a technician"), "a third laptop is a stranger:\n{script}");
}

#[tokio::test]
async fn no_event_tells_what_opens_an_answer_file() {
    let bench = Bench::new(&host("{ install = \"debian\" }")).await;
    bench.addressed(A, IP_A).await;
    let path = "/answers/52-54-00-00-00-01/0123456789abcdef/preseed.cfg".to_owned();
    let request = EventKind::HttpRequest { method: "GET".into(), path, status: 200, agent: None };
    bench.shared.report(Some(Who::ip(IP_A)), request);
    let text = format!("{:?}", bench.events().await);
    assert!(!text.contains("0123456789abcdef") && text.contains("/answers/52-54-00-00-00-01/"), "{text}");
}

#[tokio::test]
async fn an_iscsi_disk_is_given_as_it_was_assigned() {
    let bench = Bench::new("").await;
    bench.addressed(A, IP_A).await;
    let disk = IscsiBoot { disk: "kept".parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None };
    bench.assign(A, Boot::Iscsi(disk)).await;
    let (_, script) = bench.get_as(IP_A, &format!("{BOOT_A}/boot.ipxe"), "gPXE/1.0.1").await;
    assert!(script.starts_with("#!gpxe\n") && script.contains("sanboot iscsi:"), "{script}");
}

/// The server itself, on loopback, before the engine's app.
async fn wire(bench: &Bench) -> (http::Service, std::net::SocketAddr) {
    let tls = http::tls::Tls::open(&bench.shared.folder.https(), [Ipv4Addr::LOCALHOST.into()], jiff::Timestamp::now());
    let local = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let service = http::start(http::Config {
        binds: vec![(local, None)],
        secure: Some(http::Secure { binds: vec![(local, None)], tls: tls.unwrap() }),
        ports: std::sync::Arc::new(crate::net::testing::Loopback),
        app: std::sync::Arc::new(Web(bench.shared.clone())),
        reporter: bench.shared.reporter.clone(),
        tap: <_>::default(),
    });
    let service = service.await.unwrap();
    let to = service.addresses()[0];
    (service, to)
}

/// What a machine at this address of the loopback net gets: status and body.
async fn ask(from: Ipv4Addr, to: std::net::SocketAddr, method: &str, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: iPXE/1.21.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.get(9..12).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn over_the_wire_what_is_one_machine_s_is_its_address_s_and_its_token_s() {
    const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 21);
    const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 22);
    let bench = Bench::new(&host("{ install = \"debian\" }")).await;
    bench.addressed(A, HERE).await;
    bench.addressed(B, THERE).await;
    let (service, to) = wire(&bench).await;
    for leaf in ["boot.ipxe", "script.ipxe", "wait.ipxe", "choose.ipxe?to=local", "step?name=x", "error?step=x&code=1"]
    {
        let (status, why) = ask(THERE, to, "GET", &format!("{BOOT_A}/{leaf}")).await;
        assert!(status == 403 && why.contains("127.0.0.22 is 52:54:00:00:00:02's address"), "{leaf}: {why}");
    }
    let (status, script) = ask(HERE, to, "GET", &format!("{BOOT_A}/script.ipxe")).await;
    assert_eq!(status, 200);
    let answers = path_in(&script, "/answers/");
    let token = answers.split('/').nth(3).unwrap().to_owned();
    for (from, path) in [
        (THERE, answers.clone()),
        (HERE, answers.replace(&token, "0123")),
        (HERE, answers.replace(&token, &token.to_uppercase().replace('A', "B"))),
        (THERE, answers.replace("52-54-00-00-00-01", "52-54-00-00-00-02")),
        (HERE, answers.replace("52-54-00-00-00-01", "52-54-00-00-00-02")),
    ] {
        let (status, why) = ask(from, to, "GET", &path).await;
        assert!(status == 403 && !why.contains("netcfg") && !why.contains(&token), "{from} {path}: {why}");
    }
    assert_eq!(ask(HERE, to, "HEAD", &answers).await, (200, String::new()));
    assert!(bench.toml().contains("install"), "a HEAD is no installer that runs");
    let (status, text) = ask(HERE, to, "GET", &answers.replacen('/', "//", 2)).await;
    assert_eq!((status, text.as_str()), (200, "d-i netcfg/get_hostname string pc-1\n"));
    service.stop().await;
}

#[tokio::test]
async fn the_authority_is_offered_and_no_key_is() {
    let bench = Bench::new("").await;
    let (service, to) = wire(&bench).await;
    let (status, pem) = ask(Ipv4Addr::new(127, 0, 0, 9), to, "GET", "/https/ca.pem").await;
    assert!(status == 200 && pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    for path in ["/https/ca.key", "/https/server.key", "/https/server.pem", "/https/", "/https/x/ca.pem"] {
        assert_eq!(ask(Ipv4Addr::new(127, 0, 0, 9), to, "GET", path).await.0, 404, "{path}");
    }
    assert_eq!(service.secure_addresses().len(), 1);
    service.stop().await;
}
