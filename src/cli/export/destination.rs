//! Where an export or a record is written: to standard output, or to a file that appears when it is whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::super::error::CliError;

/// Does work that writes to a destination. Where that is a file, an interrupt is caught, so that the temporary file is
/// removed. Without a file it ends the process as usual, even while that waits for the reader of its output.
///
/// # Errors
/// If the work fails or is interrupted.
pub(in super::super) async fn unless_interrupted<T>(
    is_file: bool,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    if !is_file {
        return work.await;
    }
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(CliError::failed("the export was interrupted; nothing was written")),
    }
}

/// An open destination.
pub(in super::super) enum Destination {
    Stdout,
    /// Something that is no file and so cannot be replaced by one, such as a named pipe.
    Device {
        device: File,
        path: PathBuf,
    },
    /// A file that is written beside `path` and becomes it in the end.
    File {
        temporary: NamedTempFile,
        path: PathBuf,
    },
}

impl Destination {
    /// Opens the destination that a command line names. `-` is standard output.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub(in super::super) fn open(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let usage = |error: io::Error| CliError::usage(format_args!("{}: {error}", path.display()));
        // If the path is a link, the file that it leads to is replaced, and the link stays.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let device = File::options().write(true).open(&path).map_err(usage)?;
            return Ok(Self::Device { device, path });
        }
        let Some(name) = path.file_name() else {
            return Err(CliError::usage(format_args!("{} is not the name of a file", path.display())));
        };
        // The temporary file is hidden. It is on the same file system, where renaming is one step.
        let prefix = format!(".{}.", name.to_string_lossy());
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new().prefix(&prefix).suffix(".partial").tempfile_in(folder);
        Ok(Self::File { temporary: temporary.map_err(usage)?, path })
    }

    /// Whether the export is written to a file, not to a screen or to another program.
    pub(in super::super) const fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// A writer to the destination. It must be flushed before [`finish`](Self::finish).
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub(in super::super) fn writer(&self) -> Result<Box<dyn Write>, CliError> {
        Ok(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::Device { device: file, .. } => Box::new(file.try_clone().map_err(|error| self.failure(&error))?),
            Self::File { temporary, .. } => {
                Box::new(temporary.as_file().try_clone().map_err(|error| self.failure(&error))?)
            }
        })
    }

    /// Puts the whole file in its place.
    ///
    /// # Errors
    /// If that fails. Then a file that was there before is still there.
    pub(in super::super) fn finish(self) -> Result<(), CliError> {
        let Self::File { temporary, path } = self else { return Ok(()) };
        let failed = |error: io::Error| CliError::failed(format_args!("cannot write {}: {error}", path.display()));
        // The content is made durable before the name: if the machine stops in between, there must be no empty file.
        temporary.as_file().sync_all().map_err(failed)?;
        temporary.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// The error that tells that writing failed.
    pub(in super::super) fn failure(&self, error: &io::Error) -> CliError {
        let name = match self {
            _ if error.kind() == io::ErrorKind::BrokenPipe => return CliError::ReaderLeft,
            Self::Stdout => "to standard output".to_owned(),
            Self::Device { path, .. } | Self::File { path, .. } => path.display().to_string(),
        };
        CliError::failed(format_args!("cannot write {name}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_when_it_is_whole_and_an_older_one_stays_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entries.csv");
        fs::write(&path, "older").unwrap();
        let given_up = Destination::open(&path).unwrap();
        given_up.writer().unwrap().write_all(b"half").unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        drop(given_up);
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["entries.csv".to_owned()], b"older".into()));

        let finished = Destination::open(&path).unwrap();
        finished.writer().unwrap().write_all(b"whole").unwrap();
        finished.finish().unwrap();
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["entries.csv".to_owned()], b"whole".into()));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_and_a_device_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "older").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let destination = Destination::open(&link).unwrap();
        destination.writer().unwrap().write_all(b"whole").unwrap();
        destination.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"whole");

        let null = Destination::open(Path::new("/dev/null")).unwrap();
        assert!(matches!(null, Destination::Device { .. }));
        null.writer().unwrap().write_all(b"gone").unwrap();
        null.finish().unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
    }

    #[test]
    fn a_place_where_nothing_can_be_written_is_wrong_usage() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing/entries.csv")] {
            assert!(matches!(Destination::open(&path), Err(CliError::Usage(_))), "{}", path.display());
        }
    }
}
