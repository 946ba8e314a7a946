//! The files of an import: bounded in size and number, and no `include` leads out of the folder of the file that has it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The largest file that is read, in bytes; a configuration that a person or program wrote is far smaller.
pub(super) const LARGEST_FILE: u64 = 4 << 20;
/// The most files of one import, includes among them.
pub(super) const MOST_FILES: usize = 256;
/// The most statements of one import.
pub(super) const MOST_STATEMENTS: usize = if cfg!(test) { 2_000 } else { 200_000 };
/// How deep includes and blocks may stand in each other.
pub(super) const DEEPEST: usize = 24;
/// Why a file is not read inside of itself.
pub(super) const ITSELF: &str = "it is the file itself, or one around it, which is being read already";

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The operating system's.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It is something else than a configuration.
    #[error("{path} {why}")]
    Unfit {
        /// The file.
        path: String,
        /// In which way.
        why: String,
    },
}

/// A file's text; bytes that are no UTF-8 are replaced.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// As it was named.
    pub(super) name: Arc<Path>,
    /// Its text.
    pub(super) text: String,
}

/// The files of one import.
#[derive(Debug, Default)]
pub(super) struct Sources {
    read: usize,
    /// Those that are being read, each included by the one before it.
    open: Vec<PathBuf>,
}

impl Sources {
    /// Reads a file that the user named.
    ///
    /// # Errors
    /// It cannot be read, is no regular file or too large.
    pub(super) fn open(&mut self, path: &Path) -> Result<Source, SourceError> {
        let shown = || path.display().to_string();
        let unfit = |why: String| SourceError::Unfit { path: shown(), why };
        self.read += 1;
        if self.read > MOST_FILES {
            return Err(unfit(format!("is not read: {MOST_FILES} files are the most")));
        }
        let error = |source| SourceError::Io { path: shown(), source };
        let meta = std::fs::metadata(path).map_err(error)?;
        if !meta.is_file() {
            return Err(unfit("is not a file".to_owned()));
        }
        let mut bytes = Vec::new();
        File::open(path).map_err(error)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(error)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(unfit(format!("is larger than {} MiB", LARGEST_FILE >> 20)));
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        Ok(Source { name: path.into(), text })
    }

    /// Begins a file; `false` where it is being read already, further up. [`Sources::leave`] ends it.
    pub(super) fn enter(&mut self, path: &Path) -> bool {
        let real = real(path);
        let fresh = !self.open.contains(&real);
        if fresh {
            self.open.push(real);
        }
        fresh
    }

    /// Ends the file that was begun last.
    pub(super) fn leave(&mut self) {
        self.open.pop();
    }

    /// Reads what a file includes: only from the folder of the file that the user named, whatever links say.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub(super) fn include(&mut self, root: &Path, name: &str) -> Result<Source, String> {
        let path = inside(root, Path::new(name))?;
        self.open(&path).map_err(|e| e.to_string())
    }

    /// The files that a name with `*` and `?` in its last part includes, or all of a folder, in order of their names.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub(super) fn list(&mut self, root: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let path = Path::new(pattern);
        let (folder, last) = match (path.parent(), path.file_name().and_then(|n| n.to_str())) {
            (Some(parent), Some(last)) if last.contains(['*', '?']) => (parent, last.to_owned()),
            _ => (path, "*".to_owned()),
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let folder = inside(root, folder)?;
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|n| !n.starts_with('.') && fits(&last, n))
            .take(MOST_FILES)
            .collect();
        names.sort();
        let files = names.into_iter().map(|n| folder.join(n)).filter(|p| p.is_file());
        // A link in that folder may lead out of it.
        files.map(|p| inside(root, &p)).collect()
    }
}

/// One name for one file, whatever links lead to it.
pub(super) fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn leaf(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The path, if it is below the folder of `root`.
fn inside(root: &Path, wanted: &Path) -> Result<PathBuf, String> {
    let folder = match root.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let shown = wanted.display();
    let outside = || {
        format!("{shown} is outside of the folder of {}; copy it there, or import it as a file of its own", leaf(root))
    };
    let base = std::fs::canonicalize(&folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    // Told before the file system is asked, so that nobody learns what exists elsewhere.
    if wanted.components().any(|c| c == Component::ParentDir) {
        return Err(outside());
    }
    if wanted.is_absolute() && !wanted.starts_with(&base) && !wanted.starts_with(&folder) {
        return Err(outside());
    }
    let joined = if wanted.is_absolute() { wanted.to_owned() } else { folder.join(wanted) };
    let real = std::fs::canonicalize(&joined).map_err(|e| format!("cannot read {shown}: {e}"))?;
    if real.starts_with(&base) { Ok(joined) } else { Err(outside()) }
}

/// Shell's `*` and `?`.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_include_leads_out_of_the_folder() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = here.path().join("dhcpd.conf");
        std::fs::write(&root, "x").unwrap();
        std::fs::write(here.path().join("a.conf"), "a").unwrap();
        std::fs::write(there.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(there.path().join("secret"), here.path().join("b.conf")).unwrap();
        std::os::unix::fs::symlink(there.path(), here.path().join("dir")).unwrap();
        let mut sources = Sources::default();
        assert_eq!(sources.include(&root, "a.conf").unwrap().text, "a");
        assert_eq!(sources.include(&root, here.path().join("a.conf").to_str().unwrap()).unwrap().text, "a");
        for bad in ["b.conf", "dir/secret", "../x", "/etc/passwd", "./../x"] {
            let error = sources.include(&root, bad).unwrap_err();
            assert!(error.contains("outside of the folder"), "{bad}: {error}");
        }
        assert!(sources.list(&root, "*.conf").unwrap_err().contains("outside"), "a link in the list");
        std::fs::remove_file(here.path().join("b.conf")).unwrap();
        assert_eq!(sources.list(&root, "*.conf").unwrap().len(), 2);
        assert!(sources.list(&root, "/etc").unwrap_err().contains("outside"));
        assert!(sources.open(Path::new("/dev/zero")).unwrap_err().to_string().contains("not a file"));
    }

    #[test]
    fn patterns_are_the_shell_s() {
        for (pattern, name, yes) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf~", false),
            ("a?c*", "abcd", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), yes, "{pattern} {name}");
        }
    }
}
