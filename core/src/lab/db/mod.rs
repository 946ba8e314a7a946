//! lab.db: what the program observes. SQLite in WAL mode, every commit synced.
//!
//! One thread writes ([`writer`]): whatever is waiting goes into one transaction, then everybody who waited is answered; a DHCP
//! reply never waits behind the history. What waits is bounded by its nature: records replace each other by key, and of the events
//! only the newest [`EVENTS_KEPT`] would be kept anyway. A reserve ([`reserve`]) is given up when the disk is full, so that
//! leases survive. Reads go through a connection of their own; they take a moment on the disk, and see what has been written, not
//! what is queued ([`Db::flush`] waits for that).
//!
//! A row that cannot be read is left out and told ([`Db::unread`]): it is no reason to do without the others.
//!
//! Leases are written to the end of a [`journal`] and folded into their table when it is long or nothing happens, for a lease must be
//! on disk before its acknowledgement leaves, and thirty machines at once touch thirty places of the table.

mod journal;
mod records;
mod reserve;
mod tables;
mod writer;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use super::lease::LeaseRecord;
use crate::api::{Event, HostId, ProxyStyle};
use crate::hosts::BootRecord;
use crate::net::MacAddr;
pub use records::{ConfirmedInterface, EpochRecord, HostRecord, InstallRecord, JobRecord, this_machine};
use reserve::Reserve;
use writer::{Answer, Writer};

/// History is pruned to this many events.
pub const EVENTS_KEPT: usize = 100_000;

/// Why lab.db could not be read or written. Can be cloned, because one failure answers everybody who waited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// There is none yet.
    #[error("there is no {0}: nothing has been served from this lab yet")]
    Missing(String),
    /// Made by a newer program.
    #[error("{path} has form {found}, and this program knows up to {known}; use a newer Bootyard for this lab")]
    Newer {
        /// The file.
        path: String,
        /// Its form.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// Not a database, or damaged.
    #[error(
        "{path} is damaged ({detail}); move it away, and a new one begins without the old leases and history, \
         or restore it from a copy"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What SQLite says.
        detail: String,
    },
    /// The disk is full, and the reserve is used up.
    #[error("the disk of {path} is full; free some space on it")]
    Full {
        /// The file.
        path: String,
    },
    /// Opened for reading only, or closed.
    #[error("{path} is not open for writing")]
    NotWritable {
        /// The file.
        path: String,
    },
    /// Anything else.
    #[error("cannot {what} {path}: {detail}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// Why not.
        detail: String,
    },
}

impl DbError {
    fn of(what: &'static str, path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let (path, detail) = (path.display().to_string(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { path, detail },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            _ => Self::Failed { what, path, detail },
        }
    }
}

/// lab.db, open. Clones share it; when the last is dropped, what is queued is still written.
#[derive(Debug, Clone)]
pub struct Db(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    reader: Mutex<Connection>,
    writer: Option<Writer>,
    unread: Mutex<tables::Unread>,
}

impl Db {
    /// Opens lab.db, or makes it (mode 0600). Takes a moment; call it before serving.
    ///
    /// # Errors
    /// [`DbError::Newer`], [`DbError::Damaged`] (nothing is deleted), [`DbError::Failed`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let create = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        create.map_err(|e| DbError::Failed {
            what: "open",
            path: path.display().to_string(),
            detail: e.to_string(),
        })?;
        let error = |e: rusqlite::Error| DbError::of("open", path, &e);
        let mut conn = Connection::open(path).map_err(error)?;
        tables::prepare(&mut conn, path)?;
        let reserve = Reserve::of(path);
        let writer = Writer::start(conn, path, reserve)?;
        let reader = Self::reader(path)?;
        Ok(Self::with(path, reader, Some(writer)))
    }

    /// Opens lab.db for reading, beside a running engine or without one. Writes are answered with [`DbError::NotWritable`].
    ///
    /// # Errors
    /// [`DbError::Missing`], [`DbError::Newer`], [`DbError::Damaged`], [`DbError::Failed`].
    pub fn open_readonly(path: &Path) -> Result<Self, DbError> {
        if !path.exists() {
            return Err(DbError::Missing(path.display().to_string()));
        }
        let reader = Self::reader(path)?;
        if tables::version(&reader, path)? == 0 {
            return Err(DbError::Missing(path.display().to_string()));
        }
        Ok(Self::with(path, reader, None))
    }

    fn with(path: &Path, reader: Connection, writer: Option<Writer>) -> Self {
        let (path, reader) = (path.to_owned(), Mutex::new(reader));
        Self(Arc::new(Inner { path, reader, writer, unread: Mutex::default() }))
    }

    fn reader(path: &Path) -> Result<Connection, DbError> {
        let error = |e: rusqlite::Error| DbError::of("open", path, &e);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(error)?;
        conn.busy_timeout(tables::PATIENCE).map_err(error)?;
        Ok(conn)
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DbError> {
        // A panic elsewhere leaves a connection in order.
        let conn = self.0.reader.lock().unwrap_or_else(PoisonError::into_inner);
        read(&conn).map_err(|e| DbError::of("read", &self.0.path, &e))
    }

    /// Reads rows, and keeps what is wrong with those that cannot be read: see [`Db::unread`].
    fn read_rows<T>(
        &self,
        read: impl FnOnce(&Connection, &mut tables::Unread) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        let mut unread = tables::Unread::new();
        let rows = self.read(|conn| read(conn, &mut unread))?;
        self.0.unread.lock().unwrap_or_else(PoisonError::into_inner).append(&mut unread);
        Ok(rows)
    }

    /// What could not be read of the rows that were asked for until now, and was left out: each with its table, its key and why.
    #[must_use]
    pub fn unread(&self) -> Vec<String> {
        self.0.unread.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn queue(&self, change: impl FnOnce(&mut writer::Pending)) {
        if let Some(writer) = &self.0.writer {
            writer.queue(change);
        }
    }

    fn queue_and_wait(&self, change: impl FnOnce(&mut writer::Pending, Answer)) -> Waiting {
        let (answer, waiting) = tokio::sync::oneshot::channel();
        // Who waits may have gone meanwhile.
        let answer = Answer::new(move |result| drop(answer.send(result)));
        self.queue(|pending| change(pending, answer));
        Waiting { waiting, path: self.0.path.display().to_string() }
    }

    /// Every lease, those that have ended included.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn leases(&self) -> Result<Vec<LeaseRecord>, DbError> {
        self.read_rows(tables::leases)
    }

    /// Queues leases at once; the future is ready when they are durable. A record replaces the one of its address.
    pub fn commit_leases(&self, leases: Vec<LeaseRecord>) -> impl Future<Output = Result<(), DbError>> + Send + use<> {
        self.queue_and_wait(|pending, answer| pending.put_leases(leases, answer)).done()
    }

    /// Queues leases; `then` is called in the writer's thread when they are durable, and must not wait. Dropped uncalled, nothing
    /// was written.
    pub fn commit_leases_then(
        &self,
        leases: Vec<LeaseRecord>,
        then: impl FnOnce(Result<(), DbError>) + Send + 'static,
    ) {
        match &self.0.writer {
            Some(writer) => writer.queue(|pending| pending.put_leases(leases, Answer::new(then))),
            None => then(Err(DbError::NotWritable { path: self.0.path.display().to_string() })),
        }
    }

    /// Drops the record of an address.
    pub fn forget_lease(&self, address: Ipv4Addr) {
        self.queue(|pending| {
            pending.leases.insert(address, None);
        });
    }

    /// Every machine.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn hosts(&self) -> Result<Vec<HostRecord>, DbError> {
        self.read_rows(tables::hosts)
    }

    /// Queues a machine's record; it replaces the one of its id.
    pub fn put_host(&self, host: HostRecord) {
        self.queue(|pending| {
            pending.hosts.insert(host.id, Some(host));
        });
    }

    /// Drops a machine's record, and its boots.
    pub fn delete_host(&self, host: HostId) {
        self.queue(|pending| {
            pending.hosts.insert(host, None);
            pending.boots.retain(|(of, _), _| *of != host);
        });
    }

    /// The last boots of a machine, the newest first; at most [`crate::hosts::BOOTS_KEPT`].
    ///
    /// # Errors
    /// [`DbError`].
    pub fn boots_of(&self, host: HostId) -> Result<Vec<BootRecord>, DbError> {
        self.read(|conn| tables::boots_of(conn, host))
    }

    /// Queues what is remembered of a boot; it replaces what was, by when it began. Older ones than [`crate::hosts::BOOTS_KEPT`] go.
    pub fn put_boot(&self, host: HostId, boot: BootRecord) {
        self.queue(|pending| pending.put_boot(host, boot));
    }

    /// Every boot epoch that goes on.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn epochs(&self) -> Result<Vec<EpochRecord>, DbError> {
        self.read_rows(tables::epochs)
    }

    /// Queues a host's epoch at once; the future is ready when it is durable.
    pub fn put_epoch(&self, epoch: EpochRecord) -> impl Future<Output = Result<(), DbError>> + Send + use<> {
        self.queue_and_wait(|pending, answer| {
            pending.epochs.insert(epoch.host, Some(epoch));
            pending.vital_answers.push(answer);
        })
        .done()
    }

    /// Drops a host's epoch.
    pub fn delete_epoch(&self, host: HostId) {
        self.queue(|pending| {
            pending.epochs.insert(host, None);
        });
    }

    /// Queues events for the history; progress is left out.
    pub fn append_events(&self, events: Vec<Arc<Event>>) {
        self.queue(|pending| {
            pending.events.extend(events.into_iter().filter(|e| !e.kind.is_progress()));
            pending.trim_events();
        });
    }

    /// The newest events, oldest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn recent_events(&self, limit: usize) -> Result<Vec<Event>, DbError> {
        self.read(|conn| tables::recent_events(conn, limit))
    }

    /// The last events of one machine, oldest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn events_of(&self, host: HostId, limit: usize) -> Result<Vec<Event>, DbError> {
        self.read(|conn| tables::events_of(conn, host, limit))
    }

    /// The highest number that an event has had in this lab; 0 when there was none.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn last_seq(&self) -> Result<u64, DbError> {
        self.read(tables::last_seq)
    }

    /// The highest number that a machine has had in this lab, forgotten ones included.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn last_host(&self) -> Result<HostId, DbError> {
        self.read(tables::last_host)
    }

    /// Which form of ProxyDHCP offer models of firmware take, where it is not the usual one.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn proxy_styles(&self) -> Result<HashMap<String, ProxyStyle>, DbError> {
        self.read(tables::styles)
    }

    /// Remembers the form that a model takes.
    pub fn put_proxy_style(&self, model: String, style: ProxyStyle) {
        self.queue(|pending| {
            pending.styles.insert(model, style);
        });
    }

    /// The interfaces that a person confirmed, on whichever computers.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn confirmed(&self) -> Result<Vec<ConfirmedInterface>, DbError> {
        self.read_rows(tables::confirmed)
    }

    /// Remembers that a person confirmed an interface on this computer ([`this_machine`]).
    pub fn confirm(&self, mac: MacAddr, machine: String) {
        self.queue(|pending| {
            pending.confirmed.insert((mac, machine));
        });
    }

    /// The jobs that were under way.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn jobs(&self) -> Result<Vec<JobRecord>, DbError> {
        self.read(tables::jobs)
    }

    /// Queues a job's state for the journal; it replaces the one of its number.
    pub fn put_job(&self, id: u64, json: String) {
        self.queue(|pending| {
            pending.jobs.insert(id, Some(json));
        });
    }

    /// Drops a job from the journal.
    pub fn delete_job(&self, id: u64) {
        self.queue(|pending| {
            pending.jobs.insert(id, None);
        });
    }

    /// Ready when everything that was queued before this call is durable.
    pub fn flush(&self) -> impl Future<Output = Result<(), DbError>> + Send + use<> {
        self.queue_and_wait(|pending, answer| pending.flush_answers.push(answer)).done()
    }
}

struct Waiting {
    waiting: tokio::sync::oneshot::Receiver<Result<(), DbError>>,
    path: String,
}

impl Waiting {
    async fn done(self) -> Result<(), DbError> {
        self.waiting.await.unwrap_or(Err(DbError::NotWritable { path: self.path }))
    }
}

#[cfg(test)]
mod tests;
