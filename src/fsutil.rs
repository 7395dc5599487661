//! The only way in which files are replaced: a power cut, a full disk or a crash leaves the old
//! file or the new one, never a part, and a write that was reported as done is durable.
//!
//! The new content is written beside the file, under its name with `.new` appended, and made
//! durable (fsync). Then it is renamed over the old file, and the name is made durable as well
//! (fsync of the directory). In a directory in memory (tmpfs) both fsyncs do nothing and cost one
//! system call each, so files there are written in the same way.
//!
//! All calls block on the disk.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// The access rights of a file that is replaced, as in `chmod`. Owner and group of the old file stay
/// in any case, as far as the system lets us give a file away (root may).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Those of the old file; a file that was not there gets these, less the umask.
    Keep(u32),
    /// These, less the umask, whatever the old file had.
    Set(u32),
}

/// Why a file could not be replaced.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct ReplaceError {
    /// The file that was to be replaced.
    pub path: PathBuf,
    /// The system's words.
    pub source: io::Error,
}

/// For callers that name the file themselves.
impl From<ReplaceError> for io::Error {
    fn from(error: ReplaceError) -> io::Error {
        error.source
    }
}

/// Puts `bytes` in the place of the file's content, or makes the file. When this returns `Ok` they
/// survive a power cut. A link stays a link: the file that it leads to is replaced.
///
/// What an earlier crash left beside the file is overwritten. A write that fails leaves nothing; when
/// only the renaming fails, the new content stays beside the file, whole.
///
/// # Errors
/// The system's, with the path: the directory is missing or read-only, the disk is full or dying. Only
/// when the very last step fails, the fsync of the directory, is the new content in place already.
pub fn replace(path: &Path, bytes: &[u8], rights: Rights) -> Result<(), ReplaceError> {
    replace_and_open(path, bytes, rights).map(drop)
}

/// The same, and hands out the new file, to be appended to.
///
/// # Errors
/// Those of [`replace`].
pub fn replace_and_open(path: &Path, bytes: &[u8], rights: Rights) -> Result<File, ReplaceError> {
    let failed = |source| ReplaceError { path: path.to_owned(), source };
    let target = behind_links(path).map_err(failed)?;
    let temp = beside(&target);
    let file = create(&target, &temp, rights).map_err(failed)?;
    let written = (&file).write_all(bytes);
    if let Err(error) = written {
        // A part is of no use to anyone, and the room that it takes may be.
        let _ = fs::remove_file(&temp);
        return Err(failed(error));
    }
    put_in_place(&file, &temp, &target).map_err(failed)?;
    Ok(file)
}

/// Takes in the new content that an earlier crash left beside the file, after it was written and
/// before it was renamed. Whether it is whole is for the caller to know.
///
/// # Errors
/// The system's, with the path.
pub fn adopt(path: &Path) -> Result<(), ReplaceError> {
    let temp = beside(path);
    let adopted = File::open(&temp).and_then(|file| put_in_place(&file, &temp, path));
    adopted.map_err(|source| ReplaceError { path: path.to_owned(), source })
}

/// The first `limit` bytes of a file.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where the new content of a file is written: its name with `.new` behind it.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Makes a directory and those above it; each name is durable.
///
/// # Errors
/// The system's.
pub fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = directory_of(path);
    create_directory(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    sync_directory(parent)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The system's. A file system that knows no fsync of directories (a network's, mostly) is no error:
/// it keeps names in its own way.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn put_in_place(file: &File, temp: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(temp, path)?;
    sync_directory(directory_of(path))
}

/// A new file with the owner and the rights that it is to have. Nobody may read it before who may
/// not read it then.
fn create(path: &Path, temp: &Path, rights: Rights) -> io::Result<File> {
    match fs::remove_file(temp) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = File::options();
    options.append(true).create_new(true);
    let old = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let (Rights::Keep(mode) | Rights::Set(mode)) = rights;
            return options.mode(mode).open(temp);
        }
        other => other?,
    };
    let mode = match rights {
        Rights::Keep(_) => 0o600,
        Rights::Set(mode) => mode,
    };
    let file = options.mode(mode).open(temp)?;
    let handed_on = hand_on(&file, &old, rights);
    if handed_on.is_err() {
        let _ = fs::remove_file(temp);
    }
    handed_on.map(|()| file)
}

/// Gives the file the owner, the group and the rights of the old one.
fn hand_on(file: &File, old: &Metadata, rights: Rights) -> io::Result<()> {
    let new = file.metadata()?;
    if new.uid() != old.uid() || new.gid() != old.gid() {
        let both = fchown(file, Some(old.uid()), Some(old.gid()));
        // Who is not root may give it to his groups.
        let _ = both.or_else(|_| fchown(file, None, Some(old.gid())));
    }
    let Rights::Keep(_) = rights else { return Ok(()) };
    let new = file.metadata()?;
    let mut mode = old.mode() & 0o7777;
    if new.gid() != old.gid() {
        // They were meant for another group.
        mode &= !0o070;
    }
    // A file system without rights (the boot partition's) refuses to change them.
    if new.mode() & 0o7777 == mode {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(mode))
}

fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink());
    match is_link.then(|| fs::canonicalize(path)) {
        // A link into nothing gives way to the file.
        Some(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(path.to_owned()),
        Some(found) => found,
        None => Ok(path.to_owned()),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn whoever_reads_sees_the_old_file_or_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.toml");
        replace(&file, b"old", Rights::Keep(0o600)).unwrap();
        let mut held = File::open(&file).unwrap();
        replace(&file, b"the new one", Rights::Keep(0o600)).unwrap();
        let mut text = String::new();
        held.read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
        assert_eq!(fs::read(&file).unwrap(), b"the new one");
        assert_eq!(names(dir.path()), ["settings.toml"]);
    }

    #[test]
    fn rights_stay_unless_they_are_set_and_links_stay_links() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        replace(&file, b"1", Rights::Keep(0o600)).unwrap();
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o646)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, b"2", Rights::Keep(0o600)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((fs::read(&file).unwrap().as_slice(), mode(&file)), (b"2".as_slice(), 0o646));
        replace(&file, b"3", Rights::Set(0o600)).unwrap();
        assert_eq!(mode(&file), 0o600);
        // Only root may give files away; everybody else is the owner of both.
        if fchown(File::open(&file).unwrap(), Some(12), Some(34)).is_ok() {
            replace(&file, b"4", Rights::Keep(0o600)).unwrap();
            let owner = fs::metadata(&file).unwrap();
            assert_eq!((owner.uid(), owner.gid(), mode(&file)), (12, 34, 0o600));
        }
        // A link into nothing gives way.
        std::os::unix::fs::symlink("nowhere", dir.path().join("loose")).unwrap();
        replace(&dir.path().join("loose"), b"5", Rights::Keep(0o600)).unwrap();
        assert_eq!(fs::read(dir.path().join("loose")).unwrap(), b"5");
    }

    #[test]
    fn what_a_crash_left_is_overwritten_or_taken_in() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run");
        fs::write(beside(&file), "much longer than what comes now").unwrap();
        replace(&file, b"7", Rights::Keep(0o644)).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"7");
        fs::write(beside(&file), "8").unwrap();
        adopt(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"8");
        assert_eq!(names(dir.path()), ["run"]);
    }

    #[test]
    fn a_directory_that_takes_nothing_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "old").unwrap();
        // Nothing can be written where a directory lies, not even by root.
        fs::create_dir(beside(&file)).unwrap();
        let error = replace(&file, b"new", Rights::Keep(0o600)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}: ", file.display())), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"old");
        let missing = dir.path().join("missing/file");
        let error = replace(&missing, b"new", Rights::Keep(0o600)).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("missing/file"), "{error}");
    }

    #[test]
    fn a_renaming_that_fails_leaves_both_whole() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place");
        fs::create_dir_all(place.join("full")).unwrap();
        replace(&place, b"new", Rights::Keep(0o600)).unwrap_err();
        assert!(place.join("full").is_dir());
        assert_eq!(fs::read(beside(&place)).unwrap(), b"new");
    }

    const CHILD: &str = "SOLOIST_TEST_REPLACE";

    /// What the child of the next test does, under a limit for the size of its files.
    #[test]
    fn child_that_may_write_little() {
        let Some(file) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
        replace(&file, &[b'n'; 512], Rights::Keep(0o600)).unwrap();
        let error = replace(&file, &[b'x'; 8192], Rights::Keep(0o600)).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_disk_that_takes_a_part_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        // With the signal ignored a write beyond the limit fails, as on a full disk.
        let limited = "ulimit -f 2; trap '' XFSZ; exec \"$0\" --exact \"$1\"";
        let output = Command::new("sh")
            .args(["-c", limited])
            .arg(std::env::current_exe().unwrap())
            .arg("fsutil::tests::child_that_may_write_little")
            .env(CHILD, &file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(fs::read(&file).unwrap(), [b'n'; 512]);
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn directories_are_made_with_those_above() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_directory(&deep).unwrap();
        create_directory(&deep).unwrap();
        assert!(deep.is_dir());
        fs::write(deep.join("file"), "").unwrap();
        create_directory(&deep.join("file")).unwrap_err();
        assert_eq!(directory_of(Path::new("file")), Path::new("."));
    }
}
