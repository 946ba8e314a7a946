//! The lab's folder: where its parts are, how lab.toml is replaced without a moment in which it is broken, and the lock that
//! decides who owns the lab.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::problem::Problem;
use super::read::{self, Reading};
use super::schema::Lab;

/// What could not be done with a lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This user has no home.
    #[error("there is no home directory for the default lab; name a folder with --lab DIR")]
    NoHome,
    /// No such folder, or not a lab.
    #[error("{0} is not a lab: it has no lab.toml; `bootyard --lab {0}` makes one there")]
    NotALab(String),
    /// Another process owns it.
    #[error("the lab {dir} is in use by process {owner}; stop that one first, or use its window")]
    InUse {
        /// The folder.
        dir: String,
        /// Number of the process, or "another".
        owner: String,
    },
    /// lab.toml would have problems, or has.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
    /// No entry of this number.
    #[error("lab.toml has no such entry any more; it was edited meanwhile")]
    NoEntry,
    /// Somebody wrote lab.toml while it was being changed.
    #[error("lab.toml was changed by somebody else just now; try again")]
    Overtaken,
    /// The operating system's.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

fn list(problems: &[Problem]) -> String {
    let errors: Vec<_> = problems.iter().filter(|p| p.is_error()).map(ToString::to_string).collect();
    errors.join("\n")
}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> LabError + 'a {
    move |source| LabError::Io { what, path: path.display().to_string(), source }
}

/// lab.toml is text that a person writes; a larger file is something else.
const LARGEST_TOML: u64 = 8 << 20;

/// What a new lab begins with.
const TEMPLATE: &str = "\
# A lab of Bootyard: what a person decides. The window edits this file too, and keeps your comments.
# `bootyard check` reports every problem with its line.
version = 1

# The interface that serves is chosen in the window at the first start, or here:
#
# [network]
# interface = \"eth0\"
# address = \"192.168.2.1/24\"      # used only if the interface is bare
# mode = \"auto\"                   # dhcp | proxy | auto: proxy if another DHCP server answers
#
# [[profile]]                      # something to install or run; files are below media/
# name = \"debian-12\"
# kernel = \"debian-12/linux\"
# initrd = [\"debian-12/initrd.gz\"]
#
# [[disk]]                         # served over iSCSI; images are below disks/
# name = \"server01\"
# image = \"server01.raw\"
#
# [[host]]
# mac = \"52:54:00:00:00:01\"
# name = \"server01\"
# boot = { iscsi = \"server01\" }    # or { install = \"debian-12\" }, \"local\", \"wait\", \"menu\", \"ignore\"
";

/// Where the default lab is: `bootyard` in the user's data folder.
///
/// # Errors
/// [`LabError::NoHome`].
pub fn default_dir() -> Result<PathBuf, LabError> {
    let dirs = directories::ProjectDirs::from("", "", "bootyard").ok_or(LabError::NoHome)?;
    Ok(dirs.data_dir().to_owned())
}

/// A lab's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    dir: PathBuf,
}

/// Tells whether lab.toml is still the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

impl Stamp {
    /// Whether the file was written in place: what is renamed over another is a file of its own.
    #[must_use]
    pub fn is_same_file(self, other: Self) -> bool {
        self.inode == other.inode
    }
}

impl Folder {
    /// Opens a lab, or makes one: lab.toml (mode 0600, without networks), `disks/`, `media/`, `firmware/`. What is there stays.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn open_or_create(dir: &Path) -> Result<Self, LabError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(io_error("make the folder", dir))?;
        let folder = Self { dir: absolute(dir)? };
        for sub in [folder.disks(), folder.media(), folder.firmware()] {
            // A link to a folder elsewhere is fine.
            if !sub.is_dir() {
                fs::DirBuilder::new().mode(0o755).create(&sub).map_err(io_error("make the folder", &sub))?;
            }
        }
        let toml = folder.toml();
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&toml) {
            Ok(mut file) => {
                file.write_all(TEMPLATE.as_bytes()).map_err(io_error("write", &toml))?;
                file.sync_all().map_err(io_error("write", &toml))?;
                sync_dir(&folder.dir)?;
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io_error("make", &toml)(e)),
        }
        Ok(folder)
    }

    /// Opens a lab that exists.
    ///
    /// # Errors
    /// [`LabError::NotALab`], [`LabError::Io`].
    pub fn open(dir: &Path) -> Result<Self, LabError> {
        if !dir.join("lab.toml").is_file() {
            return Err(LabError::NotALab(dir.display().to_string()));
        }
        Ok(Self { dir: absolute(dir)? })
    }

    /// What root made in another user's lab becomes that user's, so that a process that gives root up can go on with it. Links are not
    /// followed; what belongs to others stays theirs.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn give_to_owner(&self) -> Result<(), LabError> {
        let owner = fs::metadata(&self.dir).map_err(io_error("read", &self.dir))?;
        // Nobody else can give, and has nothing to give: what root left there is another time's.
        if owner.uid() == 0 || !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let mut folders = vec![self.dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(io_error("read", &folder))? {
                let path = entry.map_err(io_error("read", &folder))?.path();
                let meta = match fs::symlink_metadata(&path) {
                    Ok(meta) => meta,
                    // It went meanwhile.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(io_error("read", &path)(e)),
                };
                if meta.uid() == 0 {
                    std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid()))
                        .map_err(io_error("give to the lab's owner", &path))?;
                }
                if meta.is_dir() {
                    folders.push(path);
                }
            }
        }
        Ok(())
    }

    /// The folder, absolute.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `lab.toml`.
    #[must_use]
    pub fn toml(&self) -> PathBuf {
        self.dir.join("lab.toml")
    }

    /// `lab.db`.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.dir.join("lab.db")
    }

    /// `disks/`.
    #[must_use]
    pub fn disks(&self) -> PathBuf {
        self.dir.join("disks")
    }

    /// `media/`.
    #[must_use]
    pub fn media(&self) -> PathBuf {
        self.dir.join("media")
    }

    /// `firmware/`.
    #[must_use]
    pub fn firmware(&self) -> PathBuf {
        self.dir.join("firmware")
    }

    /// `https/`: the lab's authority and certificate, made when HTTPS is first served.
    #[must_use]
    pub fn https(&self) -> PathBuf {
        self.dir.join("https")
    }

    /// lab.toml's text.
    ///
    /// # Errors
    /// [`LabError::Io`]; a file that is not UTF-8 or beyond 8 MiB is `InvalidData`.
    pub fn read_text(&self) -> Result<String, LabError> {
        let toml = self.toml();
        let error = io_error("read", &toml);
        let file = File::open(&toml).map_err(&error)?;
        let mut bytes = Vec::new();
        file.take(LARGEST_TOML + 1).read_to_end(&mut bytes).map_err(&error)?;
        if bytes.len() as u64 > LARGEST_TOML {
            return Err(error(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 8 MiB")));
        }
        String::from_utf8(bytes).map_err(|e| {
            let before = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|b| **b == b'\n').count() + 1;
            error(io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8 text")))
        })
    }

    /// Reads and checks lab.toml. The rest of the folder is [`super::check`]'s.
    ///
    /// # Errors
    /// Every problem, if one of them is an error.
    pub fn read(&self) -> Result<Lab, Vec<Problem>> {
        let Reading { lab, problems, .. } = self.reading();
        if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok(lab) }
    }

    /// As much of lab.toml as can be read; what is wrong with the rest is [`super::check`]'s to say.
    #[must_use]
    pub fn readable(&self) -> Lab {
        self.reading().lab
    }

    /// As much of lab.toml as can be read, with all its problems.
    pub(super) fn reading(&self) -> Reading {
        let toml = self.toml();
        let mut reading = match self.read_text() {
            Ok(text) => read::read(&text),
            Err(e) => Reading { problems: vec![Problem::error(None, e.to_string())], ..Reading::default() },
        };
        reading.problems.extend(self.exposed(&reading.lab));
        for problem in &mut reading.problems {
            problem.file = Some(toml.clone());
        }
        reading
    }

    /// A warning where others can read the secrets.
    pub(super) fn exposed(&self, lab: &Lab) -> Option<Problem> {
        if lab.disks.iter().all(|d| d.chap.is_none()) {
            return None;
        }
        let mode = fs::metadata(self.toml()).ok()?.permissions().mode() & 0o777;
        if mode & 0o077 == 0 {
            return None;
        }
        Some(
            Problem::warning(None, format!("others on this computer can read the CHAP secrets (mode {mode:04o})"))
                .suggest(format!("chmod 600 {}", self.toml().display())),
        )
    }

    /// Replaces lab.toml at once and for good: whoever reads it sees the old text or the new one, a power cut included. Mode 0600.
    ///
    /// # Errors
    /// [`LabError::Io`]; the old text then stands.
    pub fn write_toml(&self, text: &str) -> Result<(), LabError> {
        self.replace_toml(text, || Ok(()))
    }

    /// The same in the place of the lab.toml that had this stamp when it was read: what a person has saved since is not lost.
    ///
    /// # Errors
    /// [`LabError::Overtaken`], [`LabError::Io`]; the text that is there then stands.
    pub fn write_toml_over(&self, text: &str, read: Option<&Stamp>) -> Result<(), LabError> {
        self.replace_toml(text, || if self.stamp().as_ref() == read { Ok(()) } else { Err(LabError::Overtaken) })
    }

    /// `may`: asked when the new text is on the disk, which takes a while, just before it gets its name.
    fn replace_toml(&self, text: &str, may: impl FnOnce() -> Result<(), LabError>) -> Result<(), LabError> {
        // A link stays a link: the file that it names is replaced, in its own folder.
        let toml = fs::canonicalize(self.toml()).unwrap_or_else(|_| self.toml());
        let dir = toml.parent().map_or_else(|| self.dir.clone(), Path::to_owned);
        let temporary = dir.join(format!(".lab.toml.{}", std::process::id()));
        let written = write_new(&temporary, text, fs::metadata(&toml).ok().as_ref())
            .map_err(io_error("write", &toml))
            .and_then(|()| may())
            .and_then(|()| fs::rename(&temporary, &toml).map_err(io_error("write", &toml)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written?;
        sync_dir(&dir)
    }

    /// Changes whenever lab.toml is written by anybody; `None` if it is gone.
    #[must_use]
    pub fn stamp(&self) -> Option<Stamp> {
        let meta = fs::metadata(self.toml()).ok()?;
        Some(Stamp { modified: (meta.mtime(), meta.mtime_nsec()), size: meta.len(), inode: meta.ino() })
    }

    /// Takes the lab for this process until the lock is dropped or the process ends.
    ///
    /// # Errors
    /// [`LabError::InUse`] with the owner's process number, [`LabError::Io`].
    pub fn lock(&self) -> Result<Lock, LabError> {
        let path = self.dir.join("lab.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = (&mut file).take(32).read_to_string(&mut text);
                let owner = match text.trim().parse::<u32>() {
                    Ok(pid) => pid.to_string(),
                    Err(_) => "another".to_owned(),
                };
                return Err(LabError::InUse { dir: self.dir.display().to_string(), owner });
            }
            Err(e) => return Err(io_error("lock", &path)(e.into())),
        }
        // Only a help for whoever finds it locked; a full disk must not keep the lab closed.
        let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Lock { _file: file })
    }
}

/// The lab is this process's while this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn absolute(dir: &Path) -> Result<PathBuf, LabError> {
    fs::canonicalize(dir).map_err(io_error("open the folder", dir))
}

fn write_new(path: &Path, text: &str, old: Option<&fs::Metadata>) -> io::Result<()> {
    // One left behind by a process of the same number that was killed.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some(old) = old {
        // Written as root, it stays its owner's. Anybody else may not give files away, and need not.
        let (uid, gid) = (rustix::fs::Uid::from_raw(old.uid()), rustix::fs::Gid::from_raw(old.gid()));
        let _ = rustix::fs::fchown(&file, Some(uid), Some(gid));
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> Result<(), LabError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("write to the folder", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_missing_lab_is_made_and_one_that_is_there_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/lab");
        assert!(matches!(Folder::open(&dir), Err(LabError::NotALab(_))));
        let folder = Folder::open_or_create(&dir).unwrap();
        assert_eq!(folder.read().unwrap(), Lab::default());
        assert_eq!((mode(&folder.toml()), mode(&dir)), (0o600, 0o700));
        assert!(folder.disks().is_dir() && folder.media().is_dir() && folder.firmware().is_dir());
        fs::write(folder.toml(), "version = 1 # mine\n").unwrap();
        Folder::open_or_create(&dir).unwrap();
        assert_eq!(Folder::open(&dir).unwrap().read_text().unwrap(), "version = 1 # mine\n");
    }

    /// A golden image that was copied with sudo is root's, and no reason not to serve.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_root_made_is_given_by_root_and_stops_nobody_else() {
        use rustix::process::{Gid, Uid};

        if !rustix::process::geteuid().is_root() {
            // Only root can make what this is about.
            return;
        }
        let user = Uid::from_raw(65_534);
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(&temp.path().join("lab")).unwrap();
        let image = folder.disks().join("a.raw");
        fs::write(&image, [0; 512]).unwrap();
        for path in [temp.path(), folder.dir(), &folder.disks()] {
            rustix::fs::chown(path, Some(user), Some(Gid::from_raw(65_534))).unwrap();
        }
        let owner = || fs::metadata(&image).unwrap().uid();
        let given = std::thread::scope(|scope| {
            let as_user = || {
                // Of this thread alone.
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
                folder.give_to_owner()
            };
            scope.spawn(as_user).join().unwrap()
        });
        assert!(given.is_ok() && owner() == 0, "{given:?}");
        folder.give_to_owner().unwrap();
        assert_eq!(owner(), user.as_raw());
    }

    #[test]
    fn the_template_s_examples_are_right() {
        let examples: String = TEMPLATE
            .lines()
            .skip_while(|l| *l != "# [network]")
            .map(|l| format!("{}\n", l.trim_start_matches('#').trim_start()))
            .collect();
        let lab = super::super::parse(&format!("version = 1\n{examples}")).unwrap();
        assert_eq!((lab.networks.len(), lab.profiles.len(), lab.disks.len(), lab.hosts.len()), (1, 1, 1, 1));
    }

    #[test]
    fn lab_toml_is_replaced_with_its_mode_and_a_link_stays_a_link() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(temp.path()).unwrap();
        let real = temp.path().join("real.toml");
        fs::rename(folder.toml(), &real).unwrap();
        std::os::unix::fs::symlink(&real, folder.toml()).unwrap();
        let before = folder.stamp().unwrap();
        folder.write_toml("version = 1\n").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "version = 1\n");
        assert!(folder.toml().is_symlink());
        assert_eq!(mode(&real), 0o600);
        assert_ne!(folder.stamp().unwrap(), before);
        let left: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|n| n.to_string_lossy().starts_with(".lab")), "{left:?}");
    }

    #[test]
    fn what_a_person_saves_meanwhile_is_not_overwritten() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(temp.path()).unwrap();
        let read = folder.stamp();
        folder.write_toml_over("version = 1\n", read.as_ref()).unwrap();
        let read = folder.stamp();
        fs::write(folder.toml(), "version = 1 # mine\n").unwrap();
        let late = folder.write_toml_over("version = 1 # ours\n", read.as_ref());
        assert!(matches!(late, Err(LabError::Overtaken)), "{late:?}");
        assert_eq!(folder.read_text().unwrap(), "version = 1 # mine\n");
        let left: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|n| n.to_string_lossy().starts_with(".lab")), "{left:?}");
    }

    #[test]
    fn secrets_that_others_can_read_are_told() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(temp.path()).unwrap();
        let disk = "version = 1\n[[disk]]\nname=\"a\"\nimage=\"a\"\nchap = { user=\"u\", secret=\"0123456789ab\" }\n";
        folder.write_toml(disk).unwrap();
        assert_eq!(folder.reading().problems, []);
        fs::set_permissions(folder.toml(), fs::Permissions::from_mode(0o644)).unwrap();
        let problems = folder.reading().problems;
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("chmod 600"), "{problems:?}");
        assert!(folder.read().is_ok(), "a warning keeps nobody from serving");
    }

    #[test]
    fn what_is_no_text_is_an_error_with_its_line() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(temp.path()).unwrap();
        fs::write(folder.toml(), b"version = 1\n# \xff\n").unwrap();
        assert!(folder.read().unwrap_err()[0].to_string().contains("line 2 is not UTF-8"));
    }

    #[test]
    fn one_process_owns_a_lab_and_the_next_is_told_which() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(temp.path()).unwrap();
        let lock = folder.lock().unwrap();
        let error = folder.lock().unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(lock);
        folder.lock().unwrap();
    }
}
