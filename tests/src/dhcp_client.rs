//! DHCP clients that others wrote, each as a system starts it: dhclient, busybox udhcpc, dhcpcd and systemd-networkd.
//!
//! Each runs on `eth0` of a computer of its own. What it keeps on disk is in the test's folder: `ip netns exec` gives it mounts of its
//! own, in which that folder is mounted where the client looks. Nothing of the computer that runs the tests is read or changed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::run;

/// How long a client may take to get its lease: the slowest asks the network three times whether the address is free.
const PATIENCE: Duration = Duration::from_secs(40);

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// ISC's `dhclient` (Debian's `isc-dhcp-client`).
    Dhclient,
    /// `busybox udhcpc`.
    Udhcpc,
    /// `dhcpcd` (Debian's `dhcpcd-base`).
    Dhcpcd,
    /// `systemd-networkd`, without systemd.
    Networkd,
}

/// What a client says that it was given, in the words of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its address.
    pub address: String,
    /// Option 1.
    pub mask: String,
    /// Option 3.
    pub router: String,
    /// Option 6, with spaces between.
    pub dns: String,
    /// Option 15.
    pub domain: String,
    /// Option 54.
    pub server: String,
}

/// A client that runs. Dropping it kills it, and says nothing to the server.
#[derive(Debug)]
pub struct Running {
    program: Program,
    child: Child,
    dir: PathBuf,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dhclient, Self::Udhcpc, Self::Dhcpcd, Self::Networkd];

    /// Its name, for files and namespaces (at most 8 characters).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dhclient => "dhclient",
            Self::Udhcpc => "udhcpc",
            Self::Dhcpcd => "dhcpcd",
            Self::Networkd => "networkd",
        }
    }

    /// The client identifier (option 61) that it sends when it is given `word` of two hexadecimal digits: each in a form of its own.
    fn identifier(self, word: &str) -> String {
        match self {
            Self::Dhclient => format!("send dhcp-client-identifier 00:64:68:{word};\n"),
            Self::Udhcpc => format!("0x3d:007564{word}"),
            Self::Dhcpcd => format!("clientid 00:64:63:{word}\n"),
            // It takes a DUID of this type with exactly eight bytes after the enterprise number.
            Self::Networkd => format!(
                "[DHCPv4]\nClientIdentifier=duid\nDUIDType=vendor\nDUIDRawData=00:00:ab:11:6e:64:00:00:00:00:00:{word}\n"
            ),
        }
    }

    /// Starts it on a computer. It keeps its state in `dir`: a second start there knows of the first. `identifier` is a word of two
    /// hexadecimal digits to send a client identifier of its own choice with; else it sends what it sends by itself.
    ///
    /// # Errors
    /// It is not installed.
    pub fn start(self, computer: &Netns, dir: &Path, identifier: Option<&str>) -> Result<Running> {
        let dir = dir.join(self.name());
        fs::create_dir_all(dir.join("state"))?;
        let id = identifier.map(|word| self.identifier(word)).unwrap_or_default();
        match self {
            Self::Dhclient | Self::Dhcpcd => fs::write(dir.join("conf"), &id)?,
            Self::Udhcpc => {}
            Self::Networkd => {
                fs::create_dir_all(dir.join("state/network"))?;
                let network = "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\n";
                fs::write(dir.join("state/network/eth0.network"), format!("{network}{id}"))?;
                // What the last start was told must not pass for what this one is told.
                let _ = fs::remove_dir_all(dir.join("state/netif"));
            }
        }
        fs::write(dir.join("report"), "")?;
        hook(&dir, self != Self::Dhcpcd)?;
        let log = File::options().create(true).append(true).open(dir.join("log"))?;
        let child = computer
            .command("sh")
            .args(["-ec", self.script(), self.name()])
            .arg(&dir)
            .args((self == Self::Udhcpc && identifier.is_some()).then_some(id))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| self.name())?;
        Ok(Running { program: self, child, dir })
    }

    /// What runs it, as a shell script whose first argument is its folder. Its last command becomes the client, whose number
    /// is the child's.
    fn script(self) -> &'static str {
        match self {
            Self::Dhclient => {
                r#"exec dhclient -4 -d -cf "$1/conf" -lf "$1/state/leases" -pf "$1/state/pid" -sf "$1/hook" eth0"#
            }
            Self::Udhcpc => r#"exec busybox udhcpc -f -i eth0 -t 10 -T 2 -s "$1/hook" ${2:+-C -x "$2"}"#,
            Self::Dhcpcd => {
                r#"mkdir -p /run/dhcpcd "$1/run"
                mount --bind "$1/run" /run/dhcpcd
                mount --bind "$1/state" /var/lib/dhcpcd
                exec dhcpcd -4 -B -f "$1/conf" -c "$1/hook" -o domain_name_servers,domain_name,routers eth0"#
            }
            // With a writable /sys it would wait for udev, as on a computer of its own.
            Self::Networkd => {
                r#"mkdir -p /run/systemd
                mount -o remount,bind,ro /sys
                mount --bind "$1/state" /run/systemd
                exec /lib/systemd/systemd-networkd"#
            }
        }
    }
}

/// Writes what the three that call a script call: it reports what they were told, and where they leave it to the script, it sets the
/// address.
fn hook(dir: &Path, sets_address: bool) -> Result<()> {
    let set = if sets_address { "yes" } else { "" };
    let text = format!(
        r#"#!/bin/sh
what=${{reason:-$1}} address=${{new_ip_address:-$ip}} mask=${{new_subnet_mask:-$subnet}}
case $what in
BOUND | REBOOT | RENEW | REBIND | bound | renew)
    [ -z "{set}" ] || ip address replace "$address/$mask" dev eth0
    printf '%s\t' "$what" "$address" "$mask" "${{new_routers:-$router}}" "${{new_domain_name_servers:-$dns}}" \
        "${{new_domain_name:-$domain}}" >> '{report}'
    echo "${{new_dhcp_server_identifier:-$serverid}}" >> '{report}' ;;
RELEASE | EXPIRE | deconfig)
    [ -z "{set}" ] || ip -4 address flush dev eth0 ;;
esac
"#,
        report = dir.join("report").display()
    );
    let path = dir.join("hook");
    fs::write(&path, text)?;
    run::stdout(Command::new("chmod").arg("755").arg(path))?;
    Ok(())
}

impl Running {
    /// What it was told since it started, in order, with the word for it: `BOUND`, `renew` and the like.
    ///
    /// # Errors
    /// The file system's.
    pub fn told(&self) -> Result<Vec<(String, Lease)>> {
        if self.program == Program::Networkd {
            return Ok(self.networkd()?.map(|lease| ("lease".to_owned(), lease)).into_iter().collect());
        }
        let text = fs::read_to_string(self.dir.join("report"))?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let line = |line: &str| {
            let mut fields = line.split('\t').map(str::to_owned);
            let mut next = || fields.next().unwrap_or_default();
            let what = next();
            let (address, mask, router, dns, domain, server) = (next(), next(), next(), next(), next(), next());
            (what, Lease { address, mask, router, dns, domain, server })
        };
        Ok(whole.lines().map(line).collect())
    }

    /// networkd calls nothing, it keeps a file.
    fn networkd(&self) -> Result<Option<Lease>> {
        let Ok(files) = fs::read_dir(self.dir.join("state/netif/leases")) else { return Ok(None) };
        for file in files {
            let path = file?.path();
            // The file is written under another name and then renamed.
            if path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let field = |name: &str| {
                let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
                value.unwrap_or_default().to_owned()
            };
            return Ok(Some(Lease {
                address: field("ADDRESS"),
                mask: field("NETMASK"),
                router: field("ROUTER"),
                dns: field("DNS"),
                domain: field("DOMAINNAME"),
                server: field("SERVER_ADDRESS"),
            }));
        }
        Ok(None)
    }

    /// Waits for its lease, and until the address is on `eth0` of its computer.
    ///
    /// # Errors
    /// It got none in time: with what it said.
    pub fn lease(&self, computer: &Netns) -> Result<Lease> {
        let what = format!("{}'s lease", self.program.name());
        let got = run::wait_until(&what, PATIENCE, || {
            let Some((_, lease)) = self.told()?.pop() else { return Ok(None) };
            let set = computer.ip(&["-4", "-o", "address", "show", "dev", "eth0"])?;
            Ok(set.contains(&format!(" {}/", lease.address)).then_some(lease))
        });
        got.with_context(|| format!("it said: {}", self.said()))
    }

    /// What it printed, over all starts in its folder.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Which client it is.
    #[must_use]
    pub fn program(&self) -> Program {
        self.program
    }

    /// Asks it to renew its lease now. `false` for those that know no such signal and renew when half of the lease is over.
    ///
    /// # Errors
    /// It runs no more.
    pub fn renew(&self) -> Result<bool> {
        match self.program {
            Program::Udhcpc | Program::Dhcpcd => self.signal("-USR1").map(|()| true),
            Program::Dhclient | Program::Networkd => Ok(false),
        }
    }

    /// Gives the address back and ends it, by the way that it has for that.
    ///
    /// # Errors
    /// It did not end.
    pub fn release(mut self, computer: &Netns) -> Result<()> {
        match self.program {
            Program::Dhclient => {
                let file = |name: &str| self.dir.join(name).to_string_lossy().into_owned();
                let (leases, pid, hook) = (file("state/leases"), file("state/pid"), file("hook"));
                computer.tool("dhclient", &["-4", "-r", "-lf", &leases, "-pf", &pid, "-sf", &hook, "eth0"])?;
            }
            Program::Udhcpc => {
                self.signal("-USR2")?;
                // It releases, waits to be told what next, and takes one signal at a time.
                run::wait_until("udhcpc to release", Duration::from_secs(30), || {
                    Ok(self.said().contains("entering released state").then_some(()))
                })?;
                self.signal("-TERM")?;
            }
            Program::Dhcpcd => self.signal("-ALRM")?,
            Program::Networkd => self.signal("-TERM")?,
        }
        let what = format!("{} to end", self.program.name());
        run::wait_exit(&mut self.child, &what, Duration::from_secs(30)).with_context(|| self.said())?;
        computer.ip(&["-4", "address", "flush", "dev", "eth0"])?;
        Ok(())
    }

    /// Ends it as a power cut does; its computer forgets the address, its folder does not.
    ///
    /// # Errors
    /// The namespace is gone.
    pub fn cut(self, computer: &Netns) -> Result<()> {
        // dhcpcd is several processes.
        let pids = run::tool("ip", &["netns", "pids", computer.name()])?;
        run::output(Command::new("kill").arg("-KILL").args(pids.split_whitespace()))?;
        drop(self);
        computer.ip(&["-4", "address", "flush", "dev", "eth0"])?;
        Ok(())
    }

    fn signal(&self, signal: &str) -> Result<()> {
        run::tool("kill", &[signal, &self.child.id().to_string()])?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
