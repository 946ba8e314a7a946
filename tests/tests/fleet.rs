//! Thirty machines boot at once from one golden image.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::client::{self, Program, SECTOR, bytes, flush_cdb, good, log_in, read_cdb, write_cdb};
use bootyard_tests::cost::{Cost, forget_peak};
use bootyard_tests::disk;
use bootyard_tests::initiator::Initiator;
use bootyard_tests::ledger::{block, blocks, golden};
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use bootyard_tests::run;
use bootyard_tests::trace::{self, Step, Timed};

/// Without a probe for other servers.
const NETWORK: &str = "mode = \"proxy\"";
const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/boot-trace.txt");

const MACHINES: u16 = 30;
/// Memory that the target may take for a client that is logged in and idle.
const PER_CLIENT_KIB: u64 = 1024;
/// A session that has been idle for so long has given its buffers back.
const REST: Duration = Duration::from_millis(2500);

/// A machine on a wire of its own, at an address of its own.
struct Pc {
    number: u16,
    mac: String,
    ns: Netns,
    sessions: Vec<Initiator>,
    /// The number with which it has filled a block.
    wrote: HashMap<u64, u64>,
    commands: u64,
    read: u64,
    written: u64,
}

impl Pc {
    fn plug(bench: &Netns, number: u16) -> Result<Self> {
        let mac = mac(number);
        let ns = client::plug(bench, &format!("pc{number}"), &mac, 100 + number)?;
        let (sessions, wrote) = (Vec::new(), HashMap::new());
        Ok(Self { number, mac, ns, sessions, wrote, commands: 0, read: 0, written: 0 })
    }

    /// What iPXE does first: it fetches its script and logs in.
    fn start(&mut self) -> Result<()> {
        let script = client::script(&self.ns, &self.mac)?;
        ensure!(script.contains("sanboot") || script.contains("sanhook"), "{script}");
        self.log_in(Program::Firmware)
    }

    fn log_in(&mut self, program: Program) -> Result<()> {
        // The former session stays as it is, as those of a machine do whose firmware has handed over to its system.
        self.sessions.push(log_in(&self.ns, &self.mac, "room", program)?);
        Ok(())
    }

    fn command(&mut self, cdb: &[u8], expected: u32, data: &[u8]) -> Result<Vec<u8>> {
        self.commands += 1;
        good(self.sessions.last_mut().context("logged in")?.command(cdb, expected, data)?)
    }

    /// What it must read: what it wrote, and else what the image says.
    fn check(&self, image: &File, lba: u64, data: &[u8]) -> Result<()> {
        let mut wanted = vec![0; data.len()];
        image.read_exact_at(&mut wanted, lba * SECTOR as u64)?;
        for (lba, wanted) in (lba..).zip(wanted.chunks_mut(SECTOR)) {
            if let Some(number) = self.wrote.get(&lba) {
                wanted.copy_from_slice(&block(*number));
            }
        }
        ensure!(data == wanted, "machine {} reads something else at block {lba}", self.number);
        Ok(())
    }

    fn replay(&mut self, image: &File, steps: &[Timed]) -> Result<()> {
        for (step, _) in steps {
            match *step {
                Step::Login { firmware } => {
                    self.log_in(if firmware { Program::Firmware } else { Program::System })?;
                }
                Step::Read { lba, blocks } => {
                    let data = self.command(&read_cdb(lba, blocks), bytes(blocks), &[])?;
                    self.read += data.len() as u64;
                    self.check(image, lba, &data)?;
                }
                Step::Write { lba, blocks: count } => {
                    let first = u64::from(self.number) << 48 | self.commands << 16;
                    let numbers: Vec<u64> = (first..).take(usize::try_from(count)?).collect();
                    self.command(&write_cdb(lba, count, false), 0, &blocks(&numbers))?;
                    self.written += u64::from(bytes(count));
                    self.wrote.extend((lba..).zip(numbers));
                }
                Step::Flush => drop(self.command(&flush_cdb(), 0, &[])?),
            }
        }
        Ok(())
    }

    /// Reads everything that this boot wrote.
    fn check_what_it_wrote(&mut self) -> Result<()> {
        let wrote: Vec<(u64, u64)> = self.wrote.iter().map(|(lba, number)| (*lba, *number)).collect();
        for (lba, number) in wrote {
            let data = self.command(&read_cdb(lba, 1), bytes(1), &[])?;
            ensure!(data == block(number), "machine {} does not find its own at block {lba}", self.number);
        }
        Ok(())
    }
}

/// One machine after the other takes its time.
fn plug_in(bench: &Netns) -> Result<Vec<Pc>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..=MACHINES).map(|number| scope.spawn(move || Pc::plug(bench, number))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("plugging in panicked"))?).collect()
    })
}

fn mac(number: u16) -> String {
    format!("02:00:00:00:0f:{number:02x}")
}

/// An image as long as the recorded disk, with content wherever the boot reads or writes: each block says which it is.
fn image(path: &Path, steps: &[Timed]) -> Result<()> {
    let file = File::create_new(path)?;
    let mut end = 0;
    for (step, _) in steps {
        let (Step::Read { lba, blocks: count } | Step::Write { lba, blocks: count }) = *step else { continue };
        let after = lba + u64::from(count);
        let numbers: Vec<u64> = (lba..after).map(golden).collect();
        file.write_all_at(&blocks(&numbers), lba * SECTOR as u64)?;
        end = after.max(end);
    }
    Ok(file.set_len((end * SECTOR as u64).next_multiple_of(1 << 20))?)
}

/// Does something with every machine at the same time.
fn together(machines: &mut [Pc], work: impl Fn(&mut Pc) -> Result<()> + Sync) -> Result<()> {
    let start = Barrier::new(machines.len());
    std::thread::scope(|scope| {
        let one = |pc| {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(pc)
            })
        };
        let threads: Vec<_> = machines.iter_mut().map(one).collect();
        for thread in threads {
            let Ok(done) = thread.join() else { bail!("a machine panicked") };
            done?;
        }
        Ok(())
    })
}

#[test]
fn thirty_machines_boot_from_one_image() -> Result<()> {
    let steps = trace::parse(&fs::read_to_string(TRACE)?)?;
    let bench = Netns::bench("fleet", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("fleet", NETWORK)?;
    let path = lab.path().join("disks/room.raw");
    image(&path, &steps)?;
    let copy = lab.scratch().join("room.raw");
    run::stdout(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).args([&path, &copy]))?;
    lab.add("\n[[disk]]\nname = \"room\"\nimage = \"room.raw\"\nwrites = \"fresh\"\n")?;
    // One more, whose boot has warmed everything up before anything is measured.
    for number in 0..=MACHINES {
        lab.add_host(&mac(number), &format!("pc-{number}"), r#"{ iscsi = "room" }"#)?;
    }
    let mut machines = plug_in(&bench)?;
    let mut serve = Serve::start(&bench, &lab)?;
    let pid = serve.pid();
    run::wait_until("the image's identity", Duration::from_secs(120), || {
        let disks = lab.json(&bench, &["disks", "list", "--json"])?;
        Ok(disks[0]["generation"].as_u64().filter(|generation| *generation > 0))
    })?;
    let image = File::open(&path)?;
    let warm = machines.first_mut().context("the first")?;
    warm.start()?;
    warm.replay(&image, &steps)?;
    std::thread::sleep(REST);
    let machines = machines.get_mut(1..).context("the others")?;

    let none = Cost::of(pid)?;
    together(machines, Pc::start)?;
    std::thread::sleep(REST);
    let idle = Cost::of(pid)?;
    forget_peak(pid)?;
    let begin = Instant::now();
    // The first login has been made.
    let rest = steps.get(1..).context("steps")?;
    together(machines, |pc| pc.replay(&image, rest))?;
    let seconds = begin.elapsed().as_secs_f64();
    let busy = Cost::of(pid)?;
    std::thread::sleep(REST);
    let after = Cost::of(pid)?;

    // They all wrote to the same blocks: each finds its own there, the image has none of it, nor has the next boot.
    together(machines, Pc::check_what_it_wrote)?;
    let again = machines.first_mut().context("one")?;
    again.wrote.clear();
    again.start()?;
    let mut clean = rest.iter().copied().filter(|(step, _)| !matches!(step, Step::Write { .. })).collect::<Vec<_>>();
    clean.extend(rest.iter().filter_map(|(step, gap)| match *step {
        Step::Write { lba, blocks } => Some((Step::Read { lba, blocks }, *gap)),
        _ => None,
    }));
    again.replay(&image, &clean)?;
    let logins = serve.events().iter().filter(|e| e["kind"] == "iscsi-login").count();
    for number in 1..=MACHINES {
        let made = serve.events().iter().filter(|e| is(e, "overlay-created", &mac(number))).count();
        assert_eq!(made, if number == 1 { 2 } else { 1 }, "overlays of machine {number}");
    }
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    run::stdout(Command::new("cmp").args([&path, &copy])).context("the golden image changed")?;

    let sum = |of: fn(&Pc) -> u64| machines.iter().map(of).sum::<u64>();
    let count = u64::from(MACHINES);
    let each = |cost: &Cost| cost.kib.saturating_sub(none.kib) / count;
    println!(
        "machines {count}, logins {logins}, commands {}, read {} MiB, written {} MiB",
        sum(|pc| pc.commands),
        sum(|pc| pc.read) >> 20,
        sum(|pc| pc.written) >> 20
    );
    println!("replay in {seconds:.2} s, processor time of the target {:.2} s", busy.cpu - idle.cpu);
    println!("{:<28} {:>10} {:>14}", "memory", "KiB", "KiB a machine");
    println!("{:<28} {:>10} {:>14}", "before", none.kib, "");
    for (what, cost) in [("logged in, idle", &idle), ("after the boots, idle", &after)] {
        println!("{what:<28} {:>10} {:>14}", cost.kib, each(cost));
    }
    let peak = busy.peak_kib.saturating_sub(none.kib) / count;
    println!("{:<28} {:>10} {peak:>14}", "at most meanwhile", busy.peak_kib);
    for cost in [idle, after] {
        assert!(each(&cost) < PER_CLIENT_KIB, "an idle client takes {} KiB", each(&cost));
    }
    Ok(())
}

/// Makes `tests/recipes/boot-trace.txt` anew: what a Debian 12 asks of its root disk from the firmware's first read to its power-off.
#[test]
#[ignore = "changes the recorded boot; cargo test -p bootyard-tests --test fleet -- --ignored record"]
fn record_the_boot() -> Result<()> {
    let mac = "52:54:00:00:05:01";
    let golden = disk::debian()?;
    let bench = Netns::bench("record", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("fleet-record", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    lab.add_disk("debian", &golden, "fresh")?;
    lab.add_host(mac, "bench-5", r#"{ iscsi = "debian" }"#)?;
    let mut serve = Serve::start(&bench, &lab)?;

    let capture = lab.scratch().join("boot.pcap");
    let mut tcpdump = bench
        .command("tcpdump")
        .args(["-i", "br0", "-n", "-U", "-Z", "root", "-B", "65536", "-w"])
        .arg(&capture)
        .arg("tcp dst port 3260")
        .stderr(Stdio::null())
        .spawn()
        .context("could not start tcpdump: is it installed?")?;
    run::wait_until("tcpdump's file", Duration::from_secs(30), || Ok(capture.exists().then_some(())))?;

    let spec = Spec { firmware: Firmware::Bios, mac, memory: 1024, name: "record", serial: None };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
    machine.wait_for("PROOF end", Duration::from_secs(600))?;
    machine.wait_off(Duration::from_secs(120))?;
    run::stdout(Command::new("kill").args(["-INT", &tcpdump.id().to_string()]))?;
    run::wait_exit(&mut tcpdump, "tcpdump to end", Duration::from_secs(30))?;
    assert!(serve.terminate()?.success(), "{}", serve.stderr());

    let steps = trace::of_capture(&fs::read(&capture)?)?;
    let count = |wanted: fn(&Step) -> bool| steps.iter().filter(|(step, _)| wanted(step)).count();
    let reads = count(|s| matches!(s, Step::Read { .. }));
    let (logins, writes) = (count(|s| matches!(s, Step::Login { .. })), count(|s| matches!(s, Step::Write { .. })));
    ensure!(
        logins >= 2 && reads > 100 && writes > 0,
        "{logins} logins, {reads} reads, {writes} writes: that was no boot"
    );
    let size = fs::metadata(&golden)?.len();
    let about = format!(
        "What Debian 12 on a disk of {size} bytes asked of it from BIOS to power-off:\n\
         {logins} logins, {reads} reads, {writes} writes. Made by the test record_the_boot of tests/tests/fleet.rs.\n\
         KIND LBA BLOCKS MILLISECONDS-SINCE-THE-LINE-BEFORE; L login (1: the firmware's), R read, W write, F flush."
    );
    fs::write(TRACE, trace::format(&about, &steps)?)?;
    Ok(())
}
