//! [`KeyFile`]: a key ring on disk that only its owner may read.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::key_ring::{KeyRing, KeyRingError};

/// More than a key ring ever has; bounds what is read of a file that is none.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a key file could not be used. Names the path, never the content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is no file at the path.
    #[error("there is no key file at {}", .0.display())]
    NotFound(PathBuf),
    /// A new file was to be made where there is one.
    #[error("there already is a key file at {}: it was left as it is", .0.display())]
    Exists(PathBuf),
    /// Group or others may access the file.
    #[error("others may read the key file {path}: run `chmod 600 {path}`", path = .0.display())]
    Exposed(PathBuf),
    /// The path is a folder, a device, or, where it is to be written, a symbolic link.
    #[error("the key file {} is not a regular file", .0.display())]
    NotRegular(PathBuf),
    /// Another process changes the file, or was stopped while it did.
    #[error("the key file is being changed; if nobody does, delete {}", .0.display())]
    Locked(PathBuf),
    /// The file is larger than any key ring.
    #[error("the key file {} is larger than 64 KiB", .0.display())]
    TooLarge(PathBuf),
    /// The content is not a key ring, or the change does not fit it.
    #[error("the key file {}: {error}", .path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with its keys.
        error: KeyRingError,
    },
    /// Reading or writing failed.
    #[error("the key file {} could not be used", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

/// Where a key ring is kept on disk, as the text that [`KeyRing::parse`] reads.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The file at `path`, which need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the key file is unless something else is said: `integrations/keys` below
    /// `xdg_config_home`, or below `.config` in `home`. Both are the values of the environment
    /// variables of that name; like the XDG specification says, a relative one is ignored.
    #[must_use]
    pub fn default_path(xdg_config_home: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
        let config = xdg_config_home
            .filter(|path| path.is_absolute())
            .map(Path::to_owned)
            .or_else(|| {
                home.filter(|path| path.is_absolute())
                    .map(|home| home.join(".config"))
            })?;
        Some(config.join("integrations").join("keys"))
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the ring. A symbolic link is followed, and what it leads to is what is checked.
    ///
    /// # Errors
    ///
    /// Returns [`KeyFileError`] when there is no such file, others may access it, or it holds no
    /// key ring.
    pub fn load(&self) -> Result<KeyRing, KeyFileError> {
        // Looked at before it is opened, because opening a pipe would wait for a writer; and again
        // once open, because the path may lead elsewhere by then.
        self.require_regular(&fs::metadata(&self.path).map_err(|e| self.io(e))?)?;
        let file = File::open(&self.path).map_err(|e| self.io(e))?;
        let metadata = file.metadata().map_err(|e| self.io(e))?;
        self.require_regular(&metadata)?;
        self.require_private(&metadata)?;
        if metadata.len() > MAX_BYTES {
            return Err(KeyFileError::TooLarge(self.path.clone()));
        }

        // With room for the whole file the text is not moved, which would leave a copy behind.
        let room = usize::try_from(metadata.len()).unwrap_or_default() + 1;
        let mut text = Zeroizing::new(String::with_capacity(room));
        file.take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(|e| self.io(e))?;
        KeyRing::parse(&text).map_err(|error| self.keys(error))
    }

    /// Writes `keys` to a new file, readable by its owner alone, and makes the folders it lies in.
    ///
    /// # Errors
    ///
    /// Returns [`KeyFileError::Exists`] when there is a file already, or what went wrong.
    pub fn create(&self, keys: &KeyRing) -> Result<(), KeyFileError> {
        let folder = self.folder();
        private_folder().create(folder).map_err(|e| self.io(e))?;
        let mut file = create_private(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists(self.path.clone()),
            _ => self.io(error),
        })?;
        write_durably(&mut file, folder, &keys.to_secret_text()).map_err(|error| {
            // Half a ring is worse than none; the error that led here is the one to report.
            let _ = fs::remove_file(&self.path);
            self.io(error)
        })
    }

    /// Changes the ring on disk, as one step: whoever reads the file sees it before or after.
    ///
    /// A file beside it, which becomes the new one, keeps two processes from changing it at once.
    /// What `change` returns is returned.
    ///
    /// # Errors
    ///
    /// Returns [`KeyFileError`] when the file cannot be read or written, another process changes
    /// it, or `change` fails; it is then as it was.
    pub fn update<T>(
        &self,
        change: impl FnOnce(&mut KeyRing) -> Result<T, KeyRingError>,
    ) -> Result<T, KeyFileError> {
        // Renaming would replace a link rather than what it leads to.
        self.require_regular(&fs::symlink_metadata(&self.path).map_err(|e| self.io(e))?)?;
        let next = self.path.with_added_extension("new");
        let mut file = create_private(&next).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Locked(next.clone()),
            _ => self.io(error),
        })?;
        let changed = self.replace_through(&next, &mut file, change);
        if changed.is_err() {
            // The error that led here is the one to report.
            let _ = fs::remove_file(&next);
        }
        changed
    }

    fn replace_through<T>(
        &self,
        next: &Path,
        file: &mut File,
        change: impl FnOnce(&mut KeyRing) -> Result<T, KeyRingError>,
    ) -> Result<T, KeyFileError> {
        let mut keys = self.load()?;
        let answer = change(&mut keys).map_err(|error| self.keys(error))?;
        write_durably(file, self.folder(), &keys.to_secret_text()).map_err(|e| self.io(e))?;
        fs::rename(next, &self.path).map_err(|e| self.io(e))?;
        sync_folder(self.folder()).map_err(|e| self.io(e))?;
        Ok(answer)
    }

    /// The folder the file lies in.
    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    fn require_regular(&self, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
        if metadata.is_file() {
            Ok(())
        } else {
            Err(KeyFileError::NotRegular(self.path.clone()))
        }
    }

    #[cfg(unix)]
    fn require_private(&self, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
        use std::os::unix::fs::PermissionsExt;

        let group_and_others = metadata.permissions().mode() & 0o077;
        if group_and_others == 0 {
            Ok(())
        } else {
            Err(KeyFileError::Exposed(self.path.clone()))
        }
    }

    /// Elsewhere a user's own folder is private by the access list it inherits.
    #[cfg(not(unix))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the unix twin needs both"
    )]
    fn require_private(&self, _: &fs::Metadata) -> Result<(), KeyFileError> {
        Ok(())
    }

    fn io(&self, source: io::Error) -> KeyFileError {
        match source.kind() {
            io::ErrorKind::NotFound => KeyFileError::NotFound(self.path.clone()),
            _ => KeyFileError::Io {
                path: self.path.clone(),
                source,
            },
        }
    }

    fn keys(&self, error: KeyRingError) -> KeyFileError {
        KeyFileError::Keys {
            path: self.path.clone(),
            error,
        }
    }
}

/// Opens a file that did not exist before, for its owner alone.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes folders for their owner alone; those that exist stay as they are.
fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Writes `text` so that it outlives a power cut.
fn write_durably(file: &mut File, folder: &Path, text: &SecretString) -> io::Result<()> {
    file.write_all(text.expose_secret().as_bytes())?;
    file.sync_all()?;
    sync_folder(folder)
}

/// Makes a new or renamed entry of `folder` outlive a power cut; only unix opens folders.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}
