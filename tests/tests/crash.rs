//! The program is killed at random moments while machines work on their disks: what was acknowledged is there afterwards, what was not is
//! old or new block by block, the golden image is as it was, and work on other disks is done or undone.
//!
//! `BOOTYARD_SEED` repeats a run as far as the machine does; `BOOTYARD_KILLS` says how often the long test kills.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::client::{self, Program, bytes, good, read_cdb, write_cdb};
use bootyard_tests::disk::sha256;
use bootyard_tests::initiator::Initiator;
use bootyard_tests::ledger::{Ledger, blocks, golden};
use bootyard_tests::load::{End, Load};
use bootyard_tests::netns::Netns;
use bootyard_tests::run;
use fastrand::Rng;

/// Blocks of the disk that all machines work on.
const ROOM: u64 = 32 << 11;
/// Blocks of the disk that is committed, compacted, reset, enlarged and cloned meanwhile.
const SIDE: u64 = 24 << 11;
const MACHINES: u16 = 3;
/// Bytes by which that disk is enlarged at a time, and of a new one.
const GROWTH: u64 = 1 << 20;

/// A machine, plugged in.
struct Pc {
    mac: String,
    ns: Netns,
}

impl Pc {
    fn new(bench: &Netns, number: u16) -> Result<Self> {
        let mac = format!("02:00:00:00:0d:{number:02x}");
        let ns = client::plug(bench, &format!("pc{number}"), &mac, 100 + number)?;
        Ok(Self { mac, ns })
    }

    fn log_in(&self, disk: &str, program: Program) -> Result<Initiator> {
        client::log_in(&self.ns, &self.mac, disk, program)
    }

    /// All that it sees of the other disk.
    fn sees(&self, program: Program) -> Result<Vec<u8>> {
        let mut session = self.log_in("side", program)?;
        let mut all = Vec::new();
        for lba in (0..SIDE).step_by(2048) {
            all.extend(good(session.command(&read_cdb(lba, 2048), bytes(2048), &[])?)?);
        }
        session.logout()?;
        Ok(all)
    }
}

fn environment(name: &str) -> Result<Option<u64>> {
    std::env::var(name).ok().map(|text| text.parse().with_context(|| format!("{name}={text}"))).transpose()
}

fn image(path: &Path, count: u64) -> Result<()> {
    Ok(fs::write(path, blocks(&(0..count).map(golden).collect::<Vec<_>>()))?)
}

/// What is done to the other disk, or to a copy of it, when the program is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Commit,
    Compact,
    Reset,
    Resize,
    Clone,
    Import,
    Create,
    Delete,
}

impl Act {
    const ALL: [Self; 8] =
        [Self::Commit, Self::Clone, Self::Compact, Self::Reset, Self::Delete, Self::Import, Self::Resize, Self::Create];
}

/// A lab whose program is killed again and again.
struct Site {
    bench: Netns,
    lab: LabDir,
    rng: Rng,
    workers: Vec<(Pc, Load)>,
    /// What the image of the other disk holds.
    side: Vec<u64>,
    /// Who changes the other disk, and who looks at it.
    maintainer: (Pc, Load),
    pupil: Pc,
    /// Bytes that machines see of the other disk.
    size: u64,
    /// An image outside the lab, and what it holds.
    outside: PathBuf,
    done: u32,
    undone: u32,
}

impl Site {
    fn new(name: &str, seed: u64) -> Result<Self> {
        let bench = Netns::bench(name, Some("192.168.77.1/24"))?;
        // Without a probe for other servers it is back at once.
        let mut lab = LabDir::new(name, "mode = \"proxy\"")?;
        for (disk, count) in [("room", ROOM), ("side", SIDE)] {
            image(&lab.path().join(format!("disks/{disk}.raw")), count)?;
            lab.add(&format!("\n[[disk]]\nname = \"{disk}\"\nimage = \"{disk}.raw\"\nwrites = \"keep\"\n"))?;
        }
        let mut rng = Rng::with_seed(seed);
        let room = Ledger::new((0..ROOM).map(golden).collect());
        let mut workers = Vec::new();
        for number in 1..=MACHINES {
            let pc = Pc::new(&bench, number)?;
            lab.add_host(&pc.mac, &format!("pc-{number}"), r#"{ iscsi = "room" }"#)?;
            workers.push((pc, Load::new(room.clone(), number, rng.u64(..))));
        }
        let (maintainer, pupil) = (Pc::new(&bench, MACHINES + 1)?, Pc::new(&bench, MACHINES + 2)?);
        lab.add_host(&maintainer.mac, "maintainer", r#"{ iscsi = "side" }"#)?;
        lab.add_host(&pupil.mac, "pupil", r#"{ iscsi = "side", writes = "fresh" }"#)?;
        let side: Vec<u64> = (0..SIDE).map(golden).collect();
        let maintainer = (maintainer, Load::new(Ledger::new(side.clone()), MACHINES + 1, rng.u64(..)));
        let outside = lab.scratch().join("outside.raw");
        image(&outside, SIDE)?;
        let size = bytes(u32::try_from(SIDE)?).into();
        Ok(Self { bench, lab, rng, workers, side, maintainer, pupil, size, outside, done: 0, undone: 0 })
    }

    /// The machines log in, and each checks its whole disk.
    fn verify(&mut self) -> Result<Vec<Initiator>> {
        let mut sessions = Vec::new();
        for (pc, load) in &mut self.workers {
            let mut session = pc.log_in("room", Program::System)?;
            load.verify(&mut session).with_context(|| format!("what {} finds after a start", pc.mac))?;
            sessions.push(session);
        }
        Ok(sessions)
    }

    /// All machines log in and check their disks; then they work until the program is killed, and `act` is on its way.
    fn round(&mut self, serve: &mut Serve, act: Option<Act>) -> Result<()> {
        let mut sessions = self.verify()?;
        if act.is_some() {
            self.maintain()?;
        }
        if act == Some(Act::Delete) {
            self.disks(&["clone", "side", "copy"])?;
        }
        let (before, after) = match act {
            // It takes a moment before a command line has reached the engine.
            Some(_) => (self.rng.u64(0..100), self.rng.u64(20..500)),
            None => (0, self.rng.u64(5..400)),
        };
        let command_of = act.map(|act| self.command(act)).transpose()?;
        let start = Barrier::new(self.workers.len() + 1);
        let killed = AtomicBool::new(false);
        let mut command = None;
        std::thread::scope(|scope| -> Result<()> {
            let mut threads = Vec::new();
            for ((_, load), session) in self.workers.iter_mut().zip(&mut sessions) {
                let (start, killed) = (&start, &killed);
                threads.push(scope.spawn(move || {
                    start.wait();
                    let end = load.work(session, &AtomicBool::new(false))?;
                    ensure!(killed.load(Ordering::SeqCst) && end == End::Broken, "a session ended before the kill");
                    Ok(())
                }));
            }
            start.wait();
            std::thread::sleep(Duration::from_millis(before));
            let spawned = command_of.map(|mut command| command.spawn()).transpose();
            std::thread::sleep(Duration::from_millis(after));
            killed.store(true, Ordering::SeqCst);
            serve.kill9()?;
            for thread in threads {
                let Ok(worked) = thread.join() else { bail!("a machine panicked") };
                worked?;
            }
            command = spawned?;
            Ok(())
        })?;
        let Some((act, mut command)) = act.zip(command) else {
            *serve = Serve::start(&self.bench, &self.lab)?;
            return self.looks_whole(&["room", "side"]);
        };
        let status = run::wait_exit(&mut command, "the command to end without its engine", Duration::from_secs(60))?;
        *serve = Serve::start(&self.bench, &self.lab)?;
        let done =
            self.outcome(act, status.success()).with_context(|| format!("{act:?}, which ended with {status}"))?;
        *(if done { &mut self.done } else { &mut self.undone }) += 1;
        Ok(())
    }

    /// The maintainer changes its view of the other disk, part of it to what was there, and shuts down.
    fn maintain(&mut self) -> Result<()> {
        let (pc, load) = &mut self.maintainer;
        let mut session = pc.log_in("side", Program::System)?;
        load.verify(&mut session)?;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let work = scope.spawn(|| load.work(&mut session, &stop));
            std::thread::sleep(Duration::from_millis(60));
            stop.store(true, Ordering::SeqCst);
            work.join()
        })
        .map_err(|_| anyhow::anyhow!("the maintainer panicked"))??;
        let lba = self.rng.u64(0..SIDE / 64) * 64;
        let known = self.side.get(usize::try_from(lba)?..).and_then(|s| s.get(..64)).context("64 blocks")?;
        good(session.command(&write_cdb(lba, 64, true), 0, &blocks(known))?)?;
        load.ledger.written(lba, known)?;
        Ok(session.logout()?)
    }

    /// What is listed is whole, and nothing else lies about.
    fn looks_whole(&self, names: &[&str]) -> Result<()> {
        let disks = self.lab.json(&self.bench, &["disks", "list", "--json"])?;
        let listed = disks.as_array().context("a list")?;
        let found: BTreeSet<&str> = listed.iter().filter_map(|disk| disk["name"].as_str()).collect();
        ensure!(found == names.iter().copied().collect(), "listed are {found:?} and not {names:?}");
        for disk in listed {
            ensure!(disk["problem"].is_null(), "{disk}");
        }
        for entry in fs::read_dir(self.lab.path().join("disks"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // What is known of images stands beside them, and is read anew where it does not fit.
            let known = name == ".inspected"
                || names.iter().any(|disk| {
                    [".raw", ".raw.id", ".overlays"].iter().any(|end| name == format!("{disk}{end}"))
                    // A former generation, which an overlay stands on.
                    || name.starts_with(&format!("{disk}.raw.g"))
                });
            ensure!(known, "{name} was left behind");
        }
        Ok(())
    }

    /// Whether the act was carried out; it is an error if that is not a clear yes or no.
    fn outcome(&mut self, act: Act, reported: bool) -> Result<bool> {
        let disks = self.lab.json(&self.bench, &["disks", "list", "--json"])?;
        let copied = disks.as_array().is_some_and(|disks| disks.iter().any(|disk| disk["name"] == "copy"));
        self.looks_whole(if copied { &["copy", "room", "side"] } else { &["room", "side"] })?;
        // What `fresh` shows at a new boot is the present image.
        client::script(&self.pupil.ns, &self.pupil.mac)?;
        let present = self.pupil.sees(Program::Firmware)?;
        let (old, new) = (blocks(&self.side), blocks(self.maintainer.1.ledger.known()));
        let maintained = self.maintainer.0.sees(Program::System)?;
        let done = match act {
            Act::Commit => {
                ensure!(maintained == new, "the maintainer lost something");
                ensure!(present == old || present == new, "the image is neither the old nor the new generation");
                present == new
            }
            Act::Compact => {
                ensure!(present == old, "the image changed");
                ensure!(maintained == new, "the maintainer lost something");
                reported
            }
            Act::Reset => {
                ensure!(present == old, "the image changed");
                ensure!(maintained == new || maintained == old, "the overlay is half dropped");
                maintained == old
            }
            Act::Resize => {
                ensure!(present == old && maintained == new, "what it held changed");
                let side = disks.as_array().and_then(|disks| disks.iter().find(|disk| disk["name"] == "side"));
                let is = side.and_then(|disk| disk["size"].as_u64()).context("its size")?;
                ensure!(is == self.size || is == self.size + GROWTH, "it has {is} bytes");
                let grown = is > self.size;
                self.size = is;
                grown
            }
            Act::Clone | Act::Import | Act::Create | Act::Delete => {
                ensure!(present == old && maintained == new, "the source changed");
                if copied {
                    let holds = match act {
                        Act::Import => fs::read(&self.outside)?,
                        Act::Create => Vec::new(),
                        _ => old,
                    };
                    let copy = fs::read(self.lab.path().join("disks/copy.raw"))?;
                    // What was enlarged, or made, reads as zeroes.
                    let (same, rest) = copy.split_at_checked(holds.len()).context("it is shorter than its source")?;
                    ensure!(same == holds && rest.iter().all(|byte| *byte == 0), "it does not hold what it should");
                    let most = if act == Act::Create { GROWTH } else { self.size };
                    ensure!(copy.len() as u64 <= most, "it has {} bytes", copy.len());
                    self.disks(&["delete", "copy", "--yes"])?;
                }
                copied == (act != Act::Delete)
            }
        };
        ensure!(done || !reported, "it was reported and is not done");
        if done && act == Act::Commit {
            self.side = self.maintainer.1.ledger.known().to_vec();
        }
        // From here on it starts at the present image, which an overlay of before the commit would not.
        self.disks(&["reset", "side", "maintainer", "--yes"])?;
        self.maintainer.1.ledger = Ledger::new(self.side.clone());
        Ok(done)
    }

    fn command(&self, act: Act) -> Result<Command> {
        let (outside, size) = (self.outside.to_string_lossy(), (self.size + GROWTH).to_string());
        let args: &[&str] = match act {
            Act::Commit => &["commit", "side", "maintainer", "--yes"],
            Act::Compact => &["compact", "side"],
            Act::Reset => &["reset", "side", "maintainer", "--yes"],
            Act::Resize => &["resize", "side", &size],
            Act::Clone => &["clone", "side", "copy"],
            Act::Import => &["import", &outside, "--name", "copy"],
            Act::Create => &["create", "copy", "1M"],
            Act::Delete => &["delete", "copy", "--yes"],
        };
        let mut command = self.lab.command(&self.bench, &[&["disks"], args].concat())?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }

    fn disks(&self, args: &[&str]) -> Result<()> {
        let mut all = vec!["disks"];
        all.extend(args);
        run::stdout(&mut self.lab.command(&self.bench, &all)?)?;
        Ok(())
    }
}

/// Kills it so often; what went on meanwhile, in a sentence.
fn kills(name: &str, count: u64) -> Result<String> {
    let seed = environment("BOOTYARD_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    let mut site = Site::new(name, seed)?;
    let room = site.lab.path().join("disks/room.raw");
    let before = sha256(&room)?;
    let mut serve = Serve::start(&site.bench, &site.lab)?;
    for round in 0..count {
        let act = Act::ALL.iter().cycle().nth(usize::try_from(round / 2)?).filter(|_| round % 2 == 1);
        site.round(&mut serve, act.copied()).with_context(|| {
            format!("kill {round} of BOOTYARD_SEED={seed}; on stderr of the program:\n{}", serve.stderr())
        })?;
    }
    // A stop in order loses nothing either.
    for end in ["the last kill", "a stop"] {
        site.verify().with_context(|| format!("after {end}; BOOTYARD_SEED={seed}"))?;
        assert!(serve.terminate()?.success(), "{}", serve.stderr());
        serve = Serve::start(&site.bench, &site.lab)?;
    }
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    assert_eq!(sha256(&room)?, before, "the golden image changed; BOOTYARD_SEED={seed}");
    assert!(!serve.stderr().contains("panicked"), "{}", serve.stderr());

    let sum = |of: fn(&Load) -> u64| site.workers.iter().map(|(_, load)| of(load)).sum::<u64>();
    let (writes, flushes, reads) = (sum(|l| l.count.writes), sum(|l| l.count.flushes), sum(|l| l.count.reads));
    let summary = format!(
        "{count} kills: {writes} writes and {flushes} flushes acknowledged, {reads} reads checked, {} commands cut; \
         commands to another disk: {} done, {} undone",
        sum(|l| l.count.cut),
        site.done,
        site.undone
    );
    assert!(writes > count && flushes > 0 && reads > 0, "nothing was going on");
    Ok(summary)
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() -> Result<()> {
    println!("{}", kills("crash", 16)?);
    Ok(())
}

#[test]
#[ignore = "long: tests/run --long crash-all"]
fn nothing_acknowledged_is_lost_by_hundreds_of_kills() -> Result<()> {
    println!("{}", kills("crashes", environment("BOOTYARD_KILLS")?.unwrap_or(400))?);
    Ok(())
}
