//! `bootyard explain HOST`: what a machine would be given at each stage, and which setting decides.

use std::path::{Path, PathBuf};

use bootyard_core::api::{ClientKind, Command, Question, Reply};
use bootyard_core::boot::Arch;
use clap::{Parser, ValueEnum};

use super::session::Session;
use super::{Outcome, explain_pcap, output};

/// Which program asks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Firmware {
    /// A PXE ROM, or UEFI's PXE
    Pxe,
    /// UEFI's HTTP Boot
    Http,
    /// iPXE in the network card's ROM
    Ipxe,
    /// gPXE in the network card's ROM
    Gpxe,
}

impl Firmware {
    fn client(self) -> ClientKind {
        match self {
            Self::Pxe => ClientKind::PxeRom,
            Self::Http => ClientKind::HttpBoot,
            Self::Ipxe => ClientKind::Ipxe,
            Self::Gpxe => ClientKind::Gpxe,
        }
    }
}

/// `bootyard explain server01`, `bootyard explain 52:54:00:00:00:09 --arch uefi-x64`
#[derive(Debug, Parser)]
pub struct Args {
    /// A machine that is known (name or MAC), or the MAC of one that is not; any without an entry where only its kind is given; of a
    /// recording all
    #[arg(value_name = "HOST", required_unless_present_any = ["pcap", "arch", "firmware"])]
    host: Option<String>,
    /// A recording of packets, pcap or pcapng: the timelines and findings of the boots in it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["arch", "firmware", "interface"])]
    pcap: Option<PathBuf>,
    /// Its architecture; the one that it named when it was seen, else bios
    #[arg(long)]
    arch: Option<Arch>,
    /// Which program asks first
    #[arg(long, value_enum)]
    firmware: Option<Firmware>,
    /// Where it is plugged in: an interface of lab.toml; that of its address, else the first
    #[arg(long, value_name = "INTERFACE")]
    interface: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(lab: &Path, args: &Args) -> Outcome {
    if let Some(pcap) = &args.pcap {
        return explain_pcap::explain(pcap, args.host.as_deref(), args.json);
    }
    let session = Session::existing(lab)?;
    let reply = session.call(Command::Explain(Question {
        host: args.host.clone(),
        arch: args.arch,
        client: args.firmware.map(Firmware::client),
        interface: args.interface.clone(),
    }));
    session.end();
    let Reply::Explained { chain } = reply? else {
        return Err(anyhow::anyhow!("the engine that runs is of another version; start it again").into());
    };
    if args.json {
        output::json(&chain)?;
        return Ok(());
    }
    let mac = chain.mac.map_or_else(|| "any machine without an entry".to_owned(), |mac| mac.to_string());
    output::line(&format!("{mac} ({}) on {}:", chain.arch, chain.interface));
    for stage in chain.stages {
        let place = stage.setting.and_then(|s| s.line).map(|line| format!(" (line {line})")).unwrap_or_default();
        output::line(&format!("{:<10} because: {}{place}", stage.stage.as_str(), output::safe(&stage.because)));
        for line in stage.gets.lines() {
            output::line(&format!("           {}", output::safe(line)));
        }
        for value in stage.values {
            output::line(&format!("             {}: {}", output::safe(&value.name), output::safe(&value.value)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_was_never_seen_is_explained_without_an_engine() {
        let dir = tempfile::tempdir().unwrap();
        let toml = "version = 1\n[network]\ninterface = \"nosuch0\"\naddress = \"192.168.9.1/24\"\n";
        std::fs::write(dir.path().join("lab.toml"), toml).unwrap();
        let args = |host: &str| Args {
            host: Some(host.into()),
            pcap: None,
            arch: Some(Arch::UefiX64),
            firmware: None,
            interface: None,
            json: true,
        };
        run(dir.path(), &args("52:54:00:00:00:09")).unwrap();
        let failure = run(dir.path(), &args("nobody")).unwrap_err();
        assert!(failure.to_string().contains("no machine is called nobody"), "{failure}");
    }
}
