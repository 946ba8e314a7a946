//! A disk's kernel that is started directly: from the list of what machines get, from a finding, and on the machine's own screen.

use bootyard_core::api::*;
use bootyard_core::lab::{Boot, IscsiArgs, IscsiBoot};

use super::sample::{ago, bench, disk, host, iscsi, trouble};
use super::*;

/// One machine on the disk room-1, with or without the profile that was made of it.
fn on_disk(profile: Option<ProfileView>, direct: bool) -> Snapshot {
    let mut shot = bench(0);
    shot.jobs.clear();
    shot.disks = vec![disk("room-1", 0, vec![])];
    let Boot::Iscsi(boot) = iscsi("room-1") else { panic!("not a disk") };
    let boot = IscsiBoot { profile: direct.then(|| "room-1".parse().unwrap()), ..boot };
    shot.hosts = vec![Arc::new(host(1, Stage::OsStarted, Boot::Iscsi(boot)))];
    shot.profiles.extend(profile);
    shot
}

fn made() -> ProfileView {
    ProfileView {
        name: "room-1".into(),
        kernel: "room-1/vmlinuz-6.1.0-18-amd64".into(),
        initrds: vec!["room-1/initrd.img-6.1.0-18-amd64".into()],
        answers: None,
        args: "root=LABEL=root ro quiet".into(),
        size: 42 << 20,
        assigned: vec!["pc-01".into()],
        problem: None,
        hypervisor: None,
        iscsi_args: Some(IscsiArgs::Debian),
        taken_from: Some("room-1".into()),
        edited: false,
        stale: None,
    }
}

fn stale() -> ProfileView {
    let why = "The disk room-1 has the newer kernel 6.1.0-20-amd64. Take it out again: `bootyard disks extract room-1 --into room-1`.";
    ProfileView { stale: Some(why.into()), ..made() }
}

fn job(state: JobState) -> JobView {
    JobView {
        id: 9,
        kind: JobKind::ExtractKernel,
        what: "room-1 to room-1".into(),
        progress: Progress { done: 30 << 20, total: 42 << 20, rate: 21 << 20 },
        state,
        started: ago(2),
    }
}

fn chap(mut shot: Snapshot) -> Snapshot {
    shot.disks[0].chap = true;
    shot
}

fn with_job(mut shot: Snapshot, state: JobState) -> Snapshot {
    shot.jobs.push(job(state));
    shot
}

fn not_logged_in() -> Finding {
    Finding {
        id: "no-system-login".into(),
        seen: "A kernel was started from room-1, and for 90 s no system logged in to the disk.".into(),
        means: "The system's initramfs does not connect to iSCSI, or it lacks the driver of this network card.".into(),
        remedy: "Start its kernel directly.".into(),
        action: Some(FindingAction::StartDirectly { disk: "room-1".into() }),
        ..trouble()
    }
}

fn opened(shot: Snapshot) -> Window {
    let mut window = Window::over(shot);
    open(&mut window);
    window
}

fn open(window: &mut Window) {
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
}

#[test]
fn the_list_of_what_a_machine_gets_offers_it_and_says_that_the_kernel_comes_first() {
    let mut window = Window::over(on_disk(None, false));
    window.click("pc-01 gets Disk room-1");
    window.click("Disk room-1, in another way");
    window.click("Start its kernel directly");
    let command = Command::StartDirectly { hosts: vec![HostId(1)], disk: "room-1".into() };
    assert_eq!(window.answer(Ok(Reply::Job { id: 9 })), command);
    window.wait_for("The kernel of room-1 is taken out first");
    assert!(!window.sees("Undo"), "there is nothing to be undone yet");
}

#[test]
fn what_is_at_hand_is_given_at_once_and_can_be_undone() {
    let mut window = opened(on_disk(Some(made()), false));
    window.click("Start its kernel directly");
    assert!(matches!(window.answer(Ok(Reply::Hosts { count: 1 })), Command::StartDirectly { .. }));
    window.wait_for("pc-01: the kernel of room-1 directly");
    window.click("Undo");
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to: iscsi("room-1") });
}

#[test]
fn a_kernel_of_a_disk_is_no_installer() {
    let mut window = Window::over(on_disk(Some(made()), false));
    window.click("pc-01 gets Disk room-1");
    assert!(window.sees("Install debian-12") && !window.sees("Install room-1"));
}

#[test]
fn the_finding_has_the_button() {
    let mut shot = on_disk(None, false);
    Arc::make_mut(&mut shot.hosts[0]).findings = vec![not_logged_in()];
    let mut window = opened(shot);
    window.click("Start its kernel directly");
    let command = Command::StartDirectly { hosts: vec![HostId(1)], disk: "room-1".into() };
    assert_eq!(window.answer(Ok(Reply::Job { id: 9 })), command);
}

#[test]
fn while_the_kernel_is_taken_out_that_is_shown_and_can_be_cancelled() {
    let mut window = opened(with_job(on_disk(None, false), JobState::Running));
    assert!(window.sees("The kernel of room-1 is taken out of the disk"));
    window.click("Cancel: taking the kernel out of room-1");
    assert_eq!(window.done(), Command::CancelJob { job: 9 });
}

#[test]
fn why_it_could_not_be_taken_out_is_said_where_it_was_asked_for() {
    let error = "the disk room-1: no Linux system with a kernel was found in it".to_owned();
    let mut window = opened(with_job(on_disk(None, false), JobState::Failed { error }));
    assert!(window.sees("no Linux system with a kernel was found in it"));
    window.click("Try again: Start its kernel directly");
    assert!(matches!(window.done(), Command::StartDirectly { .. }));
}

#[test]
fn a_secret_on_a_command_line_is_said_and_only_there() {
    let secret = "CHAP secret stands in the kernel's arguments";
    assert!(opened(chap(on_disk(Some(made()), true))).sees(secret));
    assert!(!opened(on_disk(Some(made()), true)).sees(secret), "the disk has none");
    let ibft = ProfileView { iscsi_args: Some(IscsiArgs::None), ..made() };
    assert!(!opened(chap(on_disk(Some(ibft), true))).sees(secret), "the iBFT has it");
}

#[test]
fn an_old_kernel_is_shown_and_taken_out_again_and_the_boot_loader_is_one_click_away() {
    let mut window = opened(on_disk(Some(stale()), true));
    assert!(window.sees("has the newer kernel 6.1.0-20-amd64"));
    window.click("Take its kernel out again: room-1");
    let act = DiskAct::Extract { profile: "room-1".into(), host: None, kernel: None };
    assert_eq!(window.done(), Command::Disk { disk: "room-1".into(), act });
    window.click("Start its boot loader instead");
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to: iscsi("room-1") });
}

#[test]
fn the_image_screen_shows_from_where_a_kernel_is_and_that_it_is_old() {
    let mut window = Window::over(chap(on_disk(Some(ProfileView { edited: true, ..stale() }), true)));
    window.key(Modifiers::COMMAND, Key::Num2);
    assert!(window.sees("Kernel of the disk room-1") && window.sees("arguments were edited in lab.toml"));
    assert!(window.sees("CHAP secret stands in the kernel's arguments"));
    window.click("Take its kernel out again: room-1");
    assert!(matches!(window.done(), Command::Disk { .. }));
}

/// Writes pictures of each state into the folder that BOOTYARD_PICTURES names.
#[test]
#[ignore = "for people to look at: BOOTYARD_PICTURES=DIR cargo test -p bootyard --lib tests::direct::pictures -- --ignored"]
fn pictures() {
    let dir = std::path::PathBuf::from(std::env::var_os("BOOTYARD_PICTURES").unwrap());
    let mut chain = chap(on_disk(Some(made()), true));
    Arc::make_mut(&mut chain.hosts[0]).timeline = sample::direct_timeline();
    let mut wrong = on_disk(None, false);
    Arc::make_mut(&mut wrong.hosts[0]).findings = vec![not_logged_in()];
    let failed = JobState::Failed { error: "the disk room-1: no Linux system with a kernel was found in it".into() };
    let states = [
        ("chain", chain),
        ("finding", wrong),
        ("running", with_job(on_disk(None, false), JobState::Running)),
        ("failed", with_job(on_disk(None, false), failed)),
        ("stale", chap(on_disk(Some(stale()), true))),
    ];
    for (name, shot) in states {
        for (theme, light) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
            let textures = picture::Textures::default();
            let mut window = Window::with(shot.clone(), theme, [1280.0, 800.0], 1.0, textures.clone());
            open(&mut window);
            let file = dir.join(format!("direct-{name}-{light}.png"));
            textures.save(&window.harness.ctx, window.harness.output(), &file);
        }
    }
    let textures = picture::Textures::default();
    let mut window = Window::with(on_disk(None, false), Theme::Dark, [1280.0, 800.0], 1.0, textures.clone());
    window.click("pc-01 gets Disk room-1");
    window.click("Disk room-1, in another way");
    textures.save(&window.harness.ctx, window.harness.output(), &dir.join("direct-menu-dark.png"));
    let shot = chap(on_disk(Some(ProfileView { edited: true, ..stale() }), true));
    let mut window = Window::with(shot, Theme::Dark, [1280.0, 900.0], 1.0, textures.clone());
    window.key(Modifiers::COMMAND, Key::Num2);
    textures.save(&window.harness.ctx, window.harness.output(), &dir.join("direct-images-dark.png"));
}
