//! Stages ONNX Runtime's shared library and its licences in `python/glowplug/_lib/`, from where they go into the wheel.
//!
//! Only a build for Python (feature `python`) does so. The files come from the `onnxruntime` package that
//! `pyproject.toml` names for the build, so there is one place to change the version and nothing to download here.

#![allow(clippy::print_stdout, reason = "a build script talks to cargo on its standard output")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, io};

/// Where the wheel's copy lies; git ignores it.
const STAGE: &str = "python/glowplug/_lib";
const LICENCES: [&str; 2] = ["LICENSE", "ThirdPartyNotices.txt"];

/// Prints the package's folder, version and processor, a line each. Looks without importing: an import takes half a
/// second and needs the package's own dependencies.
const LOCATE: &str = r#"
import importlib.metadata, importlib.util, platform
spec = importlib.util.find_spec("onnxruntime")
if spec is not None and spec.submodule_search_locations:
    print(list(spec.submodule_search_locations)[0])
    print(importlib.metadata.version("onnxruntime"))
    print(platform.machine())
"#;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_PYTHON").is_none() {
        return ExitCode::SUCCESS;
    }
    println!("cargo::rerun-if-changed=pyproject.toml");
    for name in ["PYO3_PYTHON", "PYTHON", "PYTHONPATH", "VIRTUAL_ENV"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    match stage() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn stage() -> Result<(), String> {
    let wanted = wanted_version()?;
    let package = Package::locate(&wanted)?;
    let library = package.library()?;
    let folder = Path::new(STAGE);
    fs::create_dir_all(folder).map_err(|error| format!("`{STAGE}` cannot be made: {error}"))?;
    let mut sources = vec![library];
    sources.extend(LICENCES.iter().map(|name| package.folder.join(name)));
    let names: Vec<_> = sources.iter().filter_map(|source| source.file_name()).collect();
    // A library of another version left here would be a second one in the wheel.
    for entry in fs::read_dir(folder).map_err(|error| format!("`{STAGE}` cannot be read: {error}"))?.flatten() {
        if !names.contains(&entry.file_name().as_os_str()) {
            fs::remove_file(entry.path()).map_err(|error| format!("`{}`: {error}", entry.path().display()))?;
        }
    }
    for source in &sources {
        copy(source, folder).map_err(|error| format!("`{}` cannot be staged: {error}", source.display()))?;
    }
    Ok(())
}

/// The version in `onnxruntime==…` of `pyproject.toml`.
fn wanted_version() -> Result<String, String> {
    let text = fs::read_to_string("pyproject.toml").map_err(|error| format!("`pyproject.toml`: {error}"))?;
    let (_, rest) = text.split_once("\"onnxruntime==").ok_or("`pyproject.toml` names no `onnxruntime==…`")?;
    Ok(rest.chars().take_while(|character| character.is_ascii_digit() || *character == '.').collect())
}

/// The installed `onnxruntime` package.
struct Package {
    folder: PathBuf,
    version: String,
}

impl Package {
    fn locate(wanted: &str) -> Result<Self, String> {
        let python = ["PYO3_PYTHON", "PYTHON"].iter().find_map(env::var_os);
        let python = python.unwrap_or_else(|| if cfg!(windows) { "python".into() } else { "python3".into() });
        let shown = python.to_string_lossy().into_owned();
        let fix =
            format!("\n  fix: `{shown} -m pip install onnxruntime=={wanted}`, or name another Python in PYO3_PYTHON");
        let output = Command::new(&python)
            .args(["-c", LOCATE])
            .output()
            .map_err(|error| format!("`{shown}` does not run: {error}\n  fix: name a Python ≥ 3.11 in PYO3_PYTHON"))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            let last = error.lines().last().unwrap_or("no message");
            return Err(format!("`{shown}` cannot say where `onnxruntime` is: {last}{fix}"));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let (Some(folder), Some(version), Some(machine)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(format!("the package `onnxruntime` is not installed for `{shown}`{fix}"));
        };
        if version != wanted {
            return Err(format!("`{shown}` has onnxruntime {version}, the wheel carries {wanted}{fix}"));
        }
        check_machine(machine)?;
        Ok(Self { folder: folder.into(), version: version.to_owned() })
    }

    fn library(&self) -> Result<PathBuf, String> {
        let version = &self.version;
        let name = match env::var("CARGO_CFG_TARGET_OS").as_deref() {
            Ok("windows") => "onnxruntime.dll".to_owned(),
            Ok("macos") => format!("libonnxruntime.{version}.dylib"),
            _ => format!("libonnxruntime.so.{version}"),
        };
        let path = self.folder.join("capi").join(&name);
        if path.is_file() {
            return Ok(path);
        }
        Err(format!(
            "`{}` has no `{name}`\n  fix: build with a Python of the same operating system as the wheel's",
            self.folder.join("capi").display()
        ))
    }
}

/// Refuses a library of another processor than the one that is compiled for.
fn check_machine(machine: &str) -> Result<(), String> {
    let machine = match machine.to_ascii_lowercase().as_str() {
        "amd64" => "x86_64".to_owned(),
        "arm64" => "aarch64".to_owned(),
        other => other.to_owned(),
    };
    match env::var("CARGO_CFG_TARGET_ARCH") {
        Ok(target) if target != machine => Err(format!(
            "the wheel is for {target}, but the installed `onnxruntime` is for {machine}\n  fix: build on a {target} machine"
        )),
        _ => Ok(()),
    }
}

/// Copies `source` into `folder`, unless a copy of the same size and time is there.
///
/// The copy takes over the source's time: one of now would be newer than this run, and cargo would run it once more.
/// It arrives under a passing name, because a process may have the file of that name mapped.
fn copy(source: &Path, folder: &Path) -> io::Result<()> {
    let Some(name) = source.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let target = folder.join(name);
    println!("cargo::rerun-if-changed={}", target.display());
    let wanted = source.metadata()?;
    let modified = wanted.modified()?;
    let same = |found: fs::Metadata| found.len() == wanted.len() && found.modified().is_ok_and(|time| time == modified);
    if target.metadata().is_ok_and(same) {
        return Ok(());
    }
    let passing = folder.join(format!(".staging-{}", std::process::id()));
    fs::copy(source, &passing)?;
    File::options().write(true).open(&passing)?.set_modified(modified)?;
    fs::rename(&passing, &target)
}
