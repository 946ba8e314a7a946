//! lab.db: that it opens, that it is whole, and that its reserve for a full disk is there.

use std::fs;

use super::{About, Check, Facts, Row, State};
use crate::lab::{Db, DbError};

pub(super) struct Database;

impl Check for Database {
    fn name(&self) -> &'static str {
        "lab-db"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let Some(folder) = &facts.folder else { return Vec::new() };
        let path = folder.db();
        let about = About("lab-db", "");
        if !path.exists() {
            return vec![about.row("new", State::Ok, &[])];
        }
        let opened = Db::open_readonly(&path).and_then(|db| {
            let (leases, hosts) = (db.leases()?.len(), db.hosts()?.len());
            db.epochs()?;
            Ok((leases, hosts, db.unread()))
        });
        let mut reserve = path.clone().into_os_string();
        reserve.push(".reserve");
        vec![match opened {
            // Made, and not written yet.
            Err(DbError::Missing(_)) => about.row("new", State::Ok, &[]),
            Err(error) => about.row("unreadable", State::Failed, &[("error", &error), ("path", &path.display())]),
            Ok((.., unread)) if !unread.is_empty() => {
                about.row("left-out", State::Warning, &[("count", &unread.len()), ("records", &unread.join("; "))])
            }
            Ok(_) if fs::metadata(&reserve).is_err() => about.row("no-reserve", State::Warning, &[]),
            Ok((leases, hosts, _)) => about.row("fine", State::Ok, &[("leases", &leases), ("hosts", &hosts)]),
        }]
    }
}
