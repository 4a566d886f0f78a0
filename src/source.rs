//! A model file on disk: that it can be read, which other files belong to it, and whether it is still the same.

use std::fs::File;
use std::io::{Cursor, ErrorKind as IoKind, Read, Seek};
use std::path::{Component, Path, PathBuf};

use crate::digest::{Digest, Stamp};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::{ExternalData, Format, ModelFacts, looks_like, scan};

/// ONNX Runtime's own flatbuffer format carries this identifier behind its first offset.
const ORT_FORMAT: &[u8] = b"ORTM";

/// The first line of what `Booster.save_model` writes.
const LIGHTGBM_TEXT: [&[u8]; 2] = [b"tree\n", b"tree\r\n"];

/// What files of glowplug's own format begin with.
const NATIVE: &[u8] = b"GLOWTREE";

/// A model file and the files of its external data, as they were when it was opened.
#[derive(Debug, Clone)]
pub struct ModelFile {
    path: PathBuf,
    /// (name in the model, path) of each external file, once.
    external: Vec<(String, PathBuf)>,
    stamps: Vec<Stamp>,
    /// What the file says of itself.
    pub facts: ModelFacts,
}

impl ModelFile {
    /// Looks at the file and at everything it refers to, without reading its weights.
    pub fn open(path: &Path) -> Result<Self> {
        let subject = path.display().to_string();
        let stamp = stamp_of_file(path, &subject)?;
        let mut file = File::open(path).map_err(|error| read_error(&subject, &error))?;
        let facts = examine(&mut file, stamp.size(), &subject)?;
        let external = external_files(path, &facts.external, &subject)?;
        let mut stamps = vec![stamp];
        for (name, data) in &external {
            stamps.push(stamp_of_file(data, &format!("external data `{name}` of {subject}"))?);
        }
        check_ranges(&facts.external, &external, &stamps[1..], &subject)?;
        Ok(Self { path: path.to_owned(), external, stamps, facts })
    }

    /// Its path, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stamp of the model file itself.
    pub fn stamp(&self) -> Stamp {
        self.stamps[0]
    }

    /// Size of the model and its external data.
    pub fn bytes(&self) -> u64 {
        self.stamps.iter().map(Stamp::size).sum()
    }

    /// Whether all its files are as they were when it was opened.
    pub fn is_unchanged(&self) -> bool {
        let paths = std::iter::once(&self.path).chain(self.external.iter().map(|(_, path)| path));
        paths.zip(&self.stamps).all(|(path, stamp)| Stamp::of(path).is_ok_and(|now| now == *stamp))
    }

    /// Whether both are the same files, whatever they are called.
    pub fn is_same_files(&self, other: &Self) -> bool {
        self.stamps == other.stamps
    }

    /// The digest of the content that was opened, or `None` if it is not there any more.
    pub fn digest(&self) -> Option<Digest> {
        let digest = Digest::of_files(&self.path, &self.external).ok()?;
        self.is_unchanged().then_some(digest)
    }
}

/// What a model given as bytes says of itself; external data cannot be found without a path.
pub fn examine_bytes(bytes: &[u8], subject: &str) -> Result<ModelFacts> {
    let facts = examine(&mut Cursor::new(bytes), bytes.len() as u64, subject)?;
    match facts.external.first() {
        None => Ok(facts),
        Some(data) => Err(Error::new(
            ErrorKind::Model,
            subject,
            format!(
                "tensor `{}` lies in the external file `{}`, which bytes cannot refer to",
                data.tensor, data.location
            ),
            "save the model beside its data and pass the path, or save it with its data inside",
        )),
    }
}

fn examine(source: &mut (impl Read + Seek), length: u64, subject: &str) -> Result<ModelFacts> {
    if length == 0 {
        let fix = "export or download the model again";
        return Err(Error::new(ErrorKind::Model, subject, "is empty (0 bytes), expected an ONNX model", fix));
    }
    let mut head = Vec::new();
    source.take(64).read_to_end(&mut head).map_err(|error| read_error(subject, &error))?;
    if head.get(4..8) == Some(ORT_FORMAT) {
        return Ok(ModelFacts { has_graph: true, ..ModelFacts::default() });
    }
    if LIGHTGBM_TEXT.iter().any(|mark| head.starts_with(mark)) {
        return Ok(ModelFacts { format: Format::LightGbm, ..ModelFacts::default() });
    }
    if head.starts_with(NATIVE) {
        return Ok(ModelFacts { format: Format::Native, ..ModelFacts::default() });
    }
    if let Some(format) = format_of_document(&head) {
        return Ok(ModelFacts { format, ..ModelFacts::default() });
    }
    let error = match scan(source, subject) {
        Ok(ModelFacts { zero_groups, .. }) if !zero_groups.is_empty() => {
            let problem = format!("operator `{}` has the attribute `group` 0, expected at least 1", zero_groups[0]);
            return Err(Error::new(ErrorKind::Model, subject, problem, "export the model again"));
        }
        Ok(facts) if facts.has_graph => return Ok(facts),
        Ok(_) => {
            let fix = "export or download the model again";
            Error::new(ErrorKind::Model, subject, "not an ONNX model: it has no graph", fix)
        }
        Err(error) => error,
    };
    Err(match looks_like(&head) {
        Some((what, fix)) => {
            Error::new(ErrorKind::Model, subject, format!("looks like {what}, expected an ONNX model"), fix)
        }
        None => error,
    })
}

/// The format of an object, in JSON or in UBJSON, by what is quoted first.
fn format_of_document(head: &[u8]) -> Option<Format> {
    let rest = head.trim_ascii_start().strip_prefix(b"{")?;
    if rest.starts_with(b"L\0\0\0\0\0\0\0\x07learner") {
        return Some(Format::XgBoost);
    }
    let mut quoted = rest.trim_ascii_start().strip_prefix(b"\"")?.split(|byte| *byte == b'"').step_by(2);
    Some(match (quoted.next()?, quoted.next()) {
        (b"learner", _) => Format::XgBoost,
        (b"features_info" | b"ctr_data", _) => Format::CatBoost,
        // As it is dumped, and with its keys in order.
        (b"name", Some(b"tree")) | (b"average_output", _) => Format::LightGbmDump,
        _ => return None,
    })
}

/// The stamp of a regular file; anything else (a folder, a pipe that would block, a device without end) is refused.
fn stamp_of_file(path: &Path, subject: &str) -> Result<Stamp> {
    let metadata = std::fs::metadata(path).map_err(|error| read_error(subject, &error))?;
    if metadata.is_file() {
        return Ok(Stamp::from(&metadata));
    }
    let (what, fix) = if metadata.is_dir() {
        ("a folder", "pass the path of the .onnx file inside it")
    } else {
        ("neither a file nor a folder (a pipe, socket or device)", "save the model to a file, or pass its bytes")
    };
    Err(Error::new(ErrorKind::ModelRead, subject, format!("is {what}, expected a file"), fix))
}

fn read_error(subject: &str, error: &std::io::Error) -> Error {
    match error.kind() {
        IoKind::NotFound => Error::new(
            ErrorKind::ModelNotFound,
            subject,
            "no such file",
            "check the path; a relative one starts at the working folder of the process",
        ),
        IoKind::PermissionDenied => {
            Error::new(ErrorKind::ModelRead, subject, "no permission to read it", "make it readable for this user")
        }
        _ => {
            Error::new(ErrorKind::ModelRead, subject, format!("cannot be read: {error}"), "check the path and its disk")
        }
    }
}

/// The files that external data lies in, each once, all inside the model's folder.
fn external_files(model: &Path, data: &[ExternalData], subject: &str) -> Result<Vec<(String, PathBuf)>> {
    if data.is_empty() {
        return Ok(Vec::new());
    }
    let folder = match model.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let root = folder.canonicalize().map_err(|error| read_error(subject, &error))?;
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for ExternalData { tensor, location, .. } in data {
        if files.iter().any(|(known, _)| known == location) {
            continue;
        }
        let escapes = || {
            let problem = format!("tensor `{tensor}` lies in `{location}`, which is outside the model's folder");
            let fix = "put the data file beside the model and export again; data elsewhere is refused for security";
            Error::new(ErrorKind::Model, subject, problem, fix)
        };
        let relative = Path::new(location);
        let stays = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() {
            let problem = format!("tensor `{tensor}` has external data without a location");
            return Err(Error::new(ErrorKind::Model, subject, problem, "export the model again"));
        }
        if !stays || location.contains('\\') || location.contains('\0') {
            return Err(escapes());
        }
        let path = folder.join(relative);
        let real = path.canonicalize().map_err(|error| {
            read_error(&format!("external data `{location}` of {subject} ({})", path.display()), &error)
        })?;
        if !real.starts_with(&root) {
            return Err(escapes());
        }
        files.push((location.clone(), path));
    }
    Ok(files)
}

/// Checks offsets and lengths against the files' sizes.
fn check_ranges(data: &[ExternalData], files: &[(String, PathBuf)], stamps: &[Stamp], subject: &str) -> Result<()> {
    for ExternalData { tensor, location, offset, length } in data {
        let size =
            files.iter().zip(stamps).find(|((name, _), _)| name == location).map_or(0, |(_, stamp)| stamp.size());
        let number = |what: &str, text: &Option<String>| match text.as_deref().map(str::parse::<u64>) {
            None => Ok(0),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => {
                let got = text.as_deref().unwrap_or_default();
                let problem = format!("tensor `{tensor}` has the {what} {got:?}, expected a whole number of bytes");
                Err(Error::new(ErrorKind::Model, subject, problem, "export the model again"))
            }
        };
        let (offset, length) = (number("offset", offset)?, number("length", length)?);
        if offset.checked_add(length).is_none_or(|end| end > size) {
            let problem = format!(
                "tensor `{tensor}` wants bytes {offset} to {offset}+{length} of `{location}`, which has {size} bytes"
            );
            let fix = "the data file is truncated or belongs to another model; copy or export both again";
            return Err(Error::new(ErrorKind::Model, subject, problem, fix));
        }
    }
    Ok(())
}
