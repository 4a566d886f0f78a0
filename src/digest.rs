//! Who a model is: its content, and the cheap signs by which files that did not change are recognised.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// BLAKE3 of a model and its external data.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a model without external data.
    pub fn of_bytes(model: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(model);
        Self(finish(&hasher, model.len() as u64, 0))
    }

    /// The digest of a model file and the files its tensors lie in, as (name in the model, path), in the model's order.
    ///
    /// A file without external data has the digest of its bytes.
    pub fn of_files(model: &Path, external: &[(String, PathBuf)]) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let length = feed(&mut hasher, model)?;
        for (name, path) in external {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            let length = feed(&mut hasher, path)?;
            hasher.update(&length.to_le_bytes());
        }
        Ok(Self(finish(&hasher, length, external.len() as u64)))
    }
}

/// The model's length and the number of files separate contents that would join to the same bytes.
fn finish(hasher: &blake3::Hasher, model_length: u64, files: u64) -> [u8; 32] {
    let mut hasher = hasher.clone();
    hasher.update(&model_length.to_le_bytes());
    hasher.update(&files.to_le_bytes());
    *hasher.finalize().as_bytes()
}

fn feed(hasher: &mut blake3::Hasher, path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    // 128 KiB lets BLAKE3 use its widest vectors and stays in the second-level cache.
    let mut buffer = vec![0; 128 * 1024];
    let mut length = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the file system says of a file; equal stamps mean the same bytes, as for `make` and `git`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: i128,
    changed: i128,
}

impl Stamp {
    /// The stamp of a path, following links.
    pub fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata))
    }

    /// Size of the file.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl From<&Metadata> for Stamp {
    #[cfg(unix)]
    fn from(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    fn from(metadata: &Metadata) -> Self {
        let since_epoch = |time: io::Result<std::time::SystemTime>| {
            let time = time.ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            time.map_or(0, |duration| i128::try_from(duration.as_nanos()).unwrap_or(0))
        };
        Self {
            device: 0,
            inode: 0,
            size: metadata.len(),
            modified: since_epoch(metadata.modified()),
            changed: since_epoch(metadata.created()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_of_content_not_of_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, content) in [("a", "model"), ("b", "model"), ("c", "other"), ("w", "weights"), ("v", "weight")] {
            std::fs::write(path(name), content).unwrap();
        }
        let of = |model: &str, external: &[&str]| {
            let external: Vec<_> = external.iter().map(|name| ((*name).to_owned(), path(name))).collect();
            Digest::of_files(&path(model), &external).unwrap()
        };
        assert_eq!(of("a", &[]), of("b", &[]));
        assert_eq!(of("a", &[]), Digest::of_bytes(b"model"));
        assert_ne!(of("a", &[]), of("c", &[]));
        assert_ne!(of("a", &["w"]), of("a", &["v"]));
        assert_ne!(of("a", &["w"]), of("a", &[]));
        assert_ne!(of("a", &["w", "v"]), of("a", &["v", "w"]));
    }

    #[test]
    fn stamps_change_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        std::fs::write(&path, "one").unwrap();
        let first = Stamp::of(&path).unwrap();
        assert_eq!(first, Stamp::of(&path).unwrap());
        assert_eq!(first.size(), 3);
        std::fs::write(&path, "longer").unwrap();
        assert_ne!(first, Stamp::of(&path).unwrap());
        assert!(Stamp::of(&folder.path().join("none")).is_err());
    }
}
