//! Limits of control groups, version 1 and 2, along the process's own path.

use std::path::{Path, PathBuf};

use super::Source;

/// Memory limits from here on mean none: version 1 writes the largest multiple of a page below 2^63.
const NO_LIMIT: u64 = 1 << 60;
/// Deeper paths are not the kernel's.
const DEEPEST: usize = 64;

/// Which limit, in which version's files.
#[derive(Clone, Copy)]
enum Limit {
    Cpu1,
    Memory1,
    Both2,
}

/// A mounted hierarchy.
struct Mount {
    /// Which part of the hierarchy is mounted.
    root: String,
    point: String,
    controllers: Vec<String>,
    is_v2: bool,
}

/// Every limit that is set for the process or for a group that it is in; `root` is where the file system begins.
pub(super) fn limits(root: &Path) -> Vec<Source> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let mounts: Vec<Mount> = read("proc/self/mountinfo").lines().filter_map(mount).collect();
    let mut found = Vec::new();
    for line in read("proc/self/cgroup").lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let named: Vec<&str> = controllers.split(',').collect();
        for (limit, controller) in [(Limit::Both2, ""), (Limit::Cpu1, "cpu"), (Limit::Memory1, "memory")] {
            let is_v2 = matches!(limit, Limit::Both2);
            let fits = |mount: &&Mount| {
                mount.is_v2 == is_v2 && (is_v2 || mount.controllers.iter().any(|name| name == controller))
            };
            if !named.contains(&controller) {
                continue;
            }
            if let Some(mount) = mounts.iter().find(fits) {
                for folder in groups(mount, path) {
                    found.extend(read_limits(root, &folder, limit));
                }
            }
        }
    }
    found
}

/// Reads one line of `/proc/self/mountinfo`, see proc(5).
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, point) = (unescape(before.next()?), unescape(before.next()?));
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let controllers = options.split(',').map(str::to_owned).collect();
    matches!(kind, "cgroup" | "cgroup2").then(|| Mount { root, point, controllers, is_v2: kind == "cgroup2" })
}

/// Spaces and the like are written as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// Folders of the process's group and of the groups around it, as far as they are mounted.
fn groups(mount: &Mount, path: &str) -> Vec<PathBuf> {
    let point = PathBuf::from(mount.point.trim_start_matches('/'));
    // In a namespace of its own, a process may see a path outside of what is mounted: then the mounted root is the nearest.
    let inner = match path.strip_prefix(mount.root.trim_end_matches('/')) {
        Some(inner) if !inner.contains("/..") && (inner.is_empty() || inner.starts_with('/')) => inner,
        _ => "",
    };
    let parts: Vec<&str> = inner.split('/').filter(|part| !part.is_empty()).take(DEEPEST).collect();
    (0..=parts.len())
        .rev()
        .map(|count| parts[..count].iter().fold(point.clone(), |folder, part| folder.join(part)))
        .collect()
}

fn read_limits(root: &Path, folder: &Path, limit: Limit) -> Vec<Source> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(root.join(folder).join(name)).ok()?;
        Some((text.trim().to_owned(), Path::new("/").join(folder).join(name).display().to_string()))
    };
    let number = |name: &str| read(name).and_then(|(text, place)| Some((text.parse::<f64>().ok()?, place)));
    let memory = |name: &str, label| {
        let (text, place) = read(name)?;
        let bytes = text.parse().ok().filter(|bytes| (1..NO_LIMIT).contains(bytes))?;
        Some(Source { name: label, place, cpus: None, memory: Some(bytes) })
    };
    let cpu = |quota: f64, period: f64, place: String, label| {
        let is_limit = quota > 0.0 && period > 0.0 && quota.is_finite() && period.is_finite();
        is_limit.then(|| Source { name: label, place, cpus: Some(quota / period), memory: None })
    };
    let found = match limit {
        Limit::Cpu1 => {
            let quota = number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us"));
            [quota.and_then(|((quota, place), (period, _))| cpu(quota, period, place, "cgroup v1")), None]
        }
        Limit::Memory1 => [memory("memory.limit_in_bytes", "cgroup v1"), None],
        Limit::Both2 => {
            let quota = read("cpu.max").and_then(|(text, place)| {
                let (quota, period) = text.split_once(' ')?;
                cpu(quota.parse().ok()?, period.parse().ok()?, place, "cgroup v2")
            });
            [quota, memory("memory.max", "cgroup v2")]
        }
    };
    found.into_iter().flatten().collect()
}
