//! Writing a file so that whoever reads it finds the old content or the new, whole, even after a
//! power cut.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

/// How the new content's name ends until it takes the old one's place.
const NEW: &str = ".new";

/// Replaces the content of `path`, or creates it with `mode`. An existing file keeps its mode and
/// owner; a link is followed and stays.
///
/// # Errors
/// Any of the steps can fail; the old content is then still there.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let path = match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        canonical => canonical?,
    };
    let folder = path.parent().ok_or_else(|| io::Error::other("it is no file"))?;
    // In the same folder: a rename works within one file system only.
    let mut file =
        tempfile::Builder::new().prefix(&prefix(&path)).suffix(NEW).tempfile_in(folder)?;
    file.write_all(content)?;
    match std::fs::metadata(&path) {
        Ok(old) => {
            let new = file.as_file().metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
            }
            file.as_file().set_permissions(old.permissions())?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
        Err(error) => return Err(error),
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    // The rename itself is on disk only when the folder is.
    File::open(folder)?.sync_all()
}

/// Removes what a process that was killed while it replaced `path` has left beside it. Whoever
/// calls this is the only one that writes there.
pub(crate) fn sweep(path: &Path) {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.strip_prefix(&prefix(&path)).is_some_and(|rest| rest.ends_with(NEW))
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::debug!(file = %entry.path().display(), %error, "what was left of it can't \
                be removed");
        }
    }
}

/// How the new content's name begins: hidden, and beside the old one.
fn prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a disk that fills up, or a folder of the ECS agent's full of odd files, because an
    /// agent is killed again and again.
    #[test]
    fn what_a_killed_process_left_of_a_file_is_swept_away_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        write(&file, b"old", 0o600).expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("the link");
        let killed = tempfile::Builder::new()
            .prefix(&prefix(&file))
            .suffix(NEW)
            .tempfile_in(dir.path())
            .expect("half");
        let left = killed.into_temp_path().keep().expect("left");
        let kept = [".file.new", "file.a.new", ".file.a", ".files.a.new"]
            .map(|name| dir.path().join(name));
        kept.iter().for_each(|path| std::fs::write(path, "").expect("another file"));
        sweep(&link);
        assert!(!left.exists() && file.exists() && kept.iter().all(|path| path.exists()));
        sweep(&dir.path().join("nowhere/file"));
    }

    #[test]
    fn an_existing_file_keeps_its_mode_and_a_link_stays_a_link() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "old").expect("the file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("its mode");
        std::os::unix::fs::symlink(&file, &link).expect("the link");
        write(&link, b"new", 0o600).expect("written");
        assert_eq!(std::fs::read(&file).expect("read"), b"new");
        assert_eq!(std::fs::metadata(&file).expect("metadata").mode() & 0o777, 0o640);
        assert!(link.is_symlink());
    }

    #[test]
    fn a_new_file_gets_the_mode_and_nothing_else_is_left_in_the_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        write(&file, b"new", 0o604).expect("written");
        assert_eq!(std::fs::metadata(&file).expect("metadata").mode() & 0o777, 0o604);
        assert!(write(&dir.path().join("nowhere/file"), b"new", 0o600).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 1);
    }
}
