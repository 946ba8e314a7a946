//! That what serves can be reached: the iSCSI portal and the web server take a connection at our own address.

use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use super::{Check, Facts, Row, State, row};
use crate::lang::Param;

/// It is on this computer: an answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Portal;

impl Check for Portal {
    fn name(&self) -> &'static str {
        "reachable"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let mut rows = Vec::new();
        for serving in facts.places.iter().filter_map(|place| place.serving.as_ref()) {
            for (service, port) in [("iSCSI", facts.lab.ports.iscsi), ("HTTP", facts.lab.ports.http)] {
                let at = SocketAddrV4::new(serving.address.address, port);
                let what = format!("{}@{}", service.to_lowercase(), serving.interface);
                rows.push(match TcpStream::connect_timeout(&SocketAddr::V4(at), PATIENCE) {
                    Ok(_) => row("reachable", &what, "fine", State::Ok, &[("service", &service), ("at", &at)]),
                    Err(error) => {
                        let words: [Param<'_>; 3] = [("service", &service), ("at", &at), ("error", &error)];
                        row("reachable", &what, "silent", State::Failed, &words)
                    }
                });
            }
        }
        rows
    }
}
