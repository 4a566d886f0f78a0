//! Finds ONNX Runtime's shared library, checks it, and opens it once per process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ::ort::environment::Environment;

use crate::error::{Error, ErrorKind, Result};

/// The oldest minor version (1.x) whose C API has what we call; the `ort` crate's `api-20` feature says the same.
const OLDEST_MINOR: u32 = 20;
const FIX: &str =
    "reinstall glowplug, or set GLOWPLUG_ORT_LIBRARY to the path of an ONNX Runtime ≥ 1.20 shared library";
/// Switches the bundled library's telemetry off; read when its environment is created.
const TELEMETRY_SWITCH: &str = "ORT_DISABLE_TELEMETRY";

/// Where the library may be, in the order of search.
#[derive(Debug, Clone, Default)]
pub struct LibrarySearch {
    /// A library the user names; nothing else is tried then.
    pub explicit: Option<PathBuf>,
    /// The folder of the library that came with this package.
    pub bundled: Option<PathBuf>,
    /// Folders that hold Python packages, where `onnxruntime` may be installed.
    pub package_folders: Vec<PathBuf>,
}

impl LibrarySearch {
    /// The library to open.
    pub fn find(&self) -> Result<PathBuf> {
        if let Some(path) = &self.explicit {
            if path.is_file() {
                return Ok(path.clone());
            }
            let subject = format!("GLOWPLUG_ORT_LIBRARY={}", path.display());
            let problem = if path.exists() { "not a file" } else { "no such file" };
            return Err(Error::new(ErrorKind::Library, subject, problem, "name a library's file, or unset it"));
        }
        let packages = self.package_folders.iter().map(|folder| folder.join("onnxruntime").join("capi"));
        let folders: Vec<PathBuf> = self.bundled.iter().cloned().chain(packages).collect();
        folders.iter().find_map(|folder| library_in(folder)).ok_or_else(|| {
            let looked = folders.iter().take(4).map(|folder| folder.display().to_string()).collect::<Vec<_>>();
            let problem = format!("not found in {}", looked.join(", "));
            Error::new(ErrorKind::Library, "ONNX Runtime's shared library", problem, FIX)
        })
    }
}

/// The library in `folder` under one of its platform's names, such as `libonnxruntime.so.1.32.0`.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let is_library = |name: &str| match std::env::consts::OS {
        "windows" => name == "onnxruntime.dll",
        "macos" => name.starts_with("libonnxruntime.") && name.ends_with(".dylib"),
        _ => name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so."),
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_library))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop()
}

/// The opened library and its one environment.
#[derive(Debug)]
pub struct Runtime {
    pub(super) environment: Environment,
    /// The file that was opened.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static OPENING: Mutex<()> = Mutex::new(());

impl Runtime {
    /// The process's runtime, if it has been opened.
    pub fn get() -> Option<&'static Self> {
        RUNTIME.get()
    }

    /// The process's runtime; opens it the first time. A failure is not remembered.
    ///
    /// The environment variable that switches telemetry off is set while the library reads it and restored after, so child
    /// processes do not inherit it. Call this where no other thread changes or reads the environment: the Python shell
    /// holds the interpreter lock meanwhile, which keeps `os.environ` out.
    pub fn open(search: &LibrarySearch) -> Result<&'static Self> {
        let _one_at_a_time = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime);
        }
        let path = search.find()?;
        let version = check(&path)?;
        let environment = create_environment(&path)?;
        Ok(RUNTIME.get_or_init(|| Self { environment, path, version }))
    }
}

fn library_error(path: &Path, problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::Library, format!("library {}", path.display()), problem, FIX)
}

/// Opens the library and asks its version, before the `ort` crate would panic over a wrong one.
#[allow(unsafe_code)]
fn check(path: &Path) -> Result<String> {
    // SAFETY: running the initialisers of a library that the user or this package names is what loading it means.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|error| library_error(path, format!("cannot be opened: {}", with_cause(&error))))?;
    // SAFETY: `OrtGetApiBase` has had this signature since ONNX Runtime 1.0.
    let base = unsafe { library.get::<unsafe extern "C" fn() -> *const ::ort::sys::OrtApiBase>(b"OrtGetApiBase\0") }
        .map_err(|_| library_error(path, "is not ONNX Runtime: it has no function `OrtGetApiBase`"))?;
    // SAFETY: the function takes nothing and returns a static; a null result is checked.
    let base = unsafe { base().as_ref() }.ok_or_else(|| library_error(path, "gives no API"))?;
    // SAFETY: the version is a static, zero-terminated string.
    let version = unsafe { std::ffi::CStr::from_ptr((base.GetVersionString)()) }.to_string_lossy().into_owned();
    let minor =
        minor_version(&version).ok_or_else(|| library_error(path, format!("has the odd version {version:?}")))?;
    if minor < OLDEST_MINOR {
        return Err(library_error(path, format!("has version {version}, at least 1.{OLDEST_MINOR} expected")));
    }
    // `ort` opens it again in a moment; closing it in between would run its initialisers twice.
    std::mem::forget(library);
    Ok(version)
}

/// The loader's own words stand behind the error, not in it.
fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn minor_version(version: &str) -> Option<u32> {
    let mut parts = version.split('.');
    (parts.next()? == "1").then(|| parts.next()?.parse().ok()).flatten()
}

fn create_environment(path: &Path) -> Result<Environment> {
    let _quiet = TelemetryOff::new();
    let failed = |error: &dyn std::fmt::Display| library_error(path, format!("cannot be used: {error}"));
    let builder = ::ort::init_from(path).map_err(|error| failed(&error))?;
    // Errors come back as results and sessions have loggers of their own: nothing is printed from here.
    let silent = Arc::new(|_, _: &str, _: &str, _: &str, _: &str| {});
    let environment = builder.with_name("glowplug").with_telemetry(false).with_logger(silent).build();
    let environment = environment.map_err(|error| failed(&error))?;
    environment.set_log_level(::ort::logging::LogLevel::Warning);
    Ok(environment)
}

/// Sets the telemetry switch while it lives.
struct TelemetryOff {
    before: Option<std::ffi::OsString>,
}

impl TelemetryOff {
    #[allow(unsafe_code)]
    fn new() -> Self {
        let before = std::env::var_os(TELEMETRY_SWITCH);
        // SAFETY: `Runtime::open` tells its callers to keep other threads off the environment meanwhile.
        unsafe { std::env::set_var(TELEMETRY_SWITCH, "1") };
        Self { before }
    }
}

impl Drop for TelemetryOff {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: as in `new`.
        unsafe {
            match self.before.take() {
                Some(before) => std::env::set_var(TELEMETRY_SWITCH, before),
                None => std::env::remove_var(TELEMETRY_SWITCH),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let cases =
            [("1.32.0", Some(32)), ("1.20.1", Some(20)), ("1.9", Some(9)), ("2.0.0", None), ("", None), ("1", None)];
        for (version, expected) in cases {
            assert_eq!(minor_version(version), expected, "{version}");
        }
    }

    #[test]
    fn search_goes_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let bundled = folder.path().join("bundled");
        let package = folder.path().join("site").join("onnxruntime").join("capi");
        std::fs::create_dir_all(&bundled).unwrap();
        std::fs::create_dir_all(&package).unwrap();
        let name = match std::env::consts::OS {
            "windows" => "onnxruntime.dll",
            "macos" => "libonnxruntime.1.32.0.dylib",
            _ => "libonnxruntime.so.1.32.0",
        };
        let mut search = LibrarySearch {
            explicit: None,
            bundled: Some(bundled.clone()),
            package_folders: vec![folder.path().join("site")],
        };
        assert_eq!(search.find().unwrap_err().kind(), ErrorKind::Library);
        std::fs::write(package.join(name), "").unwrap();
        std::fs::write(package.join("libonnxruntime_providers_shared.so"), "").unwrap();
        assert_eq!(search.find(), Ok(package.join(name)));
        std::fs::write(bundled.join(name), "").unwrap();
        assert_eq!(search.find(), Ok(bundled.join(name)));
        search.explicit = Some(folder.path().join("none"));
        assert!(search.find().unwrap_err().to_string().contains("GLOWPLUG_ORT_LIBRARY"));
        search.explicit = Some(bundled.join(name));
        assert_eq!(search.find(), Ok(bundled.join(name)));
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        std::fs::write(&path, "text").unwrap();
        let error = check(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Library);
        assert!(error.to_string().contains("cannot be opened"), "{error}");
    }
}
