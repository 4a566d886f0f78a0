//! CPUs and memory that this process may really use, whatever the machine has.
//!
//! On serverless platforms the visible cores say little: a quota, or the memory size a function is paid for, bounds the CPU
//! time. Every source that can be found is read; the smallest wins.

mod cgroup;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::error::{Error, ErrorKind, Result};

/// The variable with which a user sets the number of threads.
pub const THREADS_VARIABLE: &str = "GLOWPLUG_THREADS";
/// Megabytes of a Lambda function that make one CPU, and the most CPUs one gets: AWS Lambda Developer Guide, "Configure Lambda
/// function memory".
const LAMBDA_MB_PER_CPU: f64 = 1769.0;
const LAMBDA_MOST_CPUS: f64 = 6.0;
const MB: u64 = 1 << 20;
const MOST_THREADS: usize = 1024;
/// Quotas are fractions of microseconds: 1.9999 CPUs are two.
const NEARLY: f64 = 1e-3;

/// Where limits are read: a root folder and the environment.
pub struct System {
    /// `/`, or a folder that stands for it.
    pub root: PathBuf,
    /// The value of an environment variable.
    pub variable: Box<dyn Fn(&str) -> Option<String>>,
    /// CPUs the operating system shows where there are no files to read.
    pub visible: fn() -> Option<usize>,
}

impl System {
    /// This machine and this process.
    pub fn real() -> Self {
        Self {
            root: PathBuf::from("/"),
            variable: Box::new(|name| std::env::var(name).ok()),
            visible: || std::thread::available_parallelism().ok().map(std::num::NonZero::get),
        }
    }
}

/// One place that says something.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// What kind of place.
    pub name: &'static str,
    /// File or variable.
    pub place: String,
    /// CPUs it allows.
    pub cpus: Option<f64>,
    /// Bytes of memory it allows.
    pub memory: Option<u64>,
}

/// What the process may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    /// CPUs, whole or in part.
    pub cpus: f64,
    /// Bytes of memory, if anything says so.
    pub memory: Option<u64>,
    /// What the user wants instead of as many threads as CPUs.
    pub asked_threads: Option<usize>,
    /// The serverless platform, if it is a known one.
    pub platform: Option<&'static str>,
    /// Everything that was found.
    pub sources: Vec<Source>,
}

impl Resources {
    /// Reads all sources. What is missing or cannot be read is left out; only a variable that a user sets can be wrong.
    pub fn detect(system: &System) -> Result<Self> {
        let mut sources = Vec::new();
        match affinity(&system.root) {
            Some(source) => sources.push(source),
            None => sources.extend((system.visible)().map(visible)),
        }
        sources.extend(cgroup::limits(&system.root));
        sources.extend(physical_memory(&system.root));
        let platform = platform(system);
        if platform == Some("aws-lambda") {
            sources.extend(lambda(system));
        }
        let cpus = sources.iter().filter_map(|source| source.cpus).fold(f64::INFINITY, f64::min);
        Ok(Self {
            cpus: if cpus.is_finite() { cpus } else { 1.0 },
            memory: sources.iter().filter_map(|source| source.memory).min(),
            asked_threads: asked_threads(system)?,
            platform,
            sources,
        })
    }

    /// How many threads may run at once: whole CPUs, at least one, unless the user says otherwise.
    pub fn threads(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = (self.cpus + NEARLY).floor().clamp(1.0, 1024.0) as usize;
        self.asked_threads.unwrap_or(whole)
    }

    /// Why it is this number, in words.
    pub fn threads_why(&self) -> String {
        if self.asked_threads.is_some() {
            return format!("{THREADS_VARIABLE} says so");
        }
        let least = self.sources.iter().rfind(|source| source.cpus == Some(self.cpus));
        format!("{} allows {:.2} CPUs", least.map_or("nothing that was found", |source| source.name), self.cpus)
    }
}

static CURRENT: ArcSwapOption<Resources> = ArcSwapOption::const_empty();

/// What this process may use, as found at the first call.
pub fn current() -> Result<Arc<Resources>> {
    match CURRENT.load_full() {
        Some(known) => Ok(known),
        None => refresh(),
    }
}

/// Looks again: after a snapshot of the process was restored elsewhere, or limits were changed.
pub fn refresh() -> Result<Arc<Resources>> {
    let found = Arc::new(Resources::detect(&System::real())?);
    CURRENT.store(Some(Arc::clone(&found)));
    Ok(found)
}

/// CPUs that the scheduler may put the process on, see proc(5).
fn affinity(root: &Path) -> Option<Source> {
    let place = "proc/self/status";
    let status = std::fs::read_to_string(root.join(place)).ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let cpus = list.trim().split(',').map(count_of).sum::<Option<u32>>().filter(|count| *count > 0)?;
    Some(Source { name: "affinity", place: format!("/{place}"), cpus: Some(f64::from(cpus)), memory: None })
}

/// CPUs of a range such as `0-3`, or of a number.
fn count_of(range: &str) -> Option<u32> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    Some(u32::from(last.checked_sub(first)?) + 1)
}

fn visible(count: usize) -> Source {
    let cpus = u32::try_from(count).map(f64::from).ok();
    Source { name: "visible cores", place: "operating system".to_owned(), cpus, memory: None }
}

fn physical_memory(root: &Path) -> Option<Source> {
    let place = "proc/meminfo";
    let text = std::fs::read_to_string(root.join(place)).ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
    let bytes = total.trim().parse::<u64>().ok()?.checked_mul(1024).filter(|bytes| *bytes > 0)?;
    Some(Source { name: "physical memory", place: format!("/{place}"), cpus: None, memory: Some(bytes) })
}

/// A Lambda function's CPU time is in proportion to its memory, whatever cores it sees.
fn lambda(system: &System) -> Option<Source> {
    let name = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
    let megabytes: u32 = (system.variable)(name)?.trim().parse().ok().filter(|size| *size > 0)?;
    let cpus = (f64::from(megabytes) / LAMBDA_MB_PER_CPU).min(LAMBDA_MOST_CPUS);
    Some(Source {
        name: "Lambda memory size",
        place: name.to_owned(),
        cpus: Some(cpus),
        memory: Some(u64::from(megabytes) * MB),
    })
}

fn platform(system: &System) -> Option<&'static str> {
    let is_set = |name: &&str| (system.variable)(name).is_some_and(|value| !value.is_empty());
    let known: [(&str, &[&str]); 3] = [
        ("aws-lambda", &["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT"]),
        ("cloud-run", &["K_SERVICE", "CLOUD_RUN_JOB"]),
        ("azure-functions", &["FUNCTIONS_WORKER_RUNTIME"]),
    ];
    known.iter().find(|(_, variables)| variables.iter().any(is_set)).map(|(platform, _)| *platform)
}

fn asked_threads(system: &System) -> Result<Option<usize>> {
    let Some(text) = (system.variable)(THREADS_VARIABLE).filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    let asked = text.trim().parse().ok().filter(|threads| (1..=MOST_THREADS).contains(threads));
    asked.map(Some).ok_or_else(|| {
        let problem = format!("got {text:?}, expected a whole number from 1 to {MOST_THREADS}");
        let subject = format!("environment variable {THREADS_VARIABLE}");
        Error::new(ErrorKind::Option, subject, problem, "unset it to let glowplug choose")
    })
}

#[cfg(test)]
mod tests;
