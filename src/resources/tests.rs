use super::*;

const V2: &str = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                  32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                  35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";

struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    variables: &'static [(&'static str, &'static str)],
    cpus: f64,
    memory: Option<u64>,
    threads: usize,
}

const NOTHING: Case = Case { name: "nothing", files: &[], variables: &[], cpus: 1.0, memory: None, threads: 1 };
const STATUS: (&str, &str) = ("proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-3,8,10-12\n");
const MOUNTS2: (&str, &str) = ("proc/self/mountinfo", V2);
const MOUNTS1: (&str, &str) = ("proc/self/mountinfo", V1);
const GROUP2: (&str, &str) = ("proc/self/cgroup", "0::/a.slice/b.scope\n");
const GROUP1: (&str, &str) = ("proc/self/cgroup", "4:memory:/m\n3:cpuset:/\n2:cpu,cpuacct:/c/d\n0::/\n");

fn detect(case: &Case) -> Result<Resources> {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in case.files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let variables = case.variables;
    let variable =
        move |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Resources::detect(&System { root: folder.path().to_owned(), variable: Box::new(variable), visible: || None })
}

#[test]
#[allow(clippy::too_many_lines)]
fn the_smallest_limit_wins() {
    let cases = [
        NOTHING,
        Case { name: "affinity", files: &[STATUS], cpus: 8.0, threads: 8, ..NOTHING },
        Case {
            name: "v2 quota of the own group",
            files: &[STATUS, MOUNTS2, GROUP2, ("sys/fs/cgroup/a.slice/b.scope/cpu.max", "150000 100000\n")],
            cpus: 1.5,
            ..NOTHING
        },
        Case {
            name: "v2 an outer group is tighter",
            files: &[
                STATUS,
                MOUNTS2,
                GROUP2,
                ("sys/fs/cgroup/a.slice/b.scope/cpu.max", "300000 100000"),
                ("sys/fs/cgroup/a.slice/cpu.max", "58000 100000"),
                ("sys/fs/cgroup/cpu.max", "max 100000"),
                ("sys/fs/cgroup/a.slice/b.scope/memory.max", "max"),
                ("sys/fs/cgroup/a.slice/memory.max", "536870912"),
            ],
            cpus: 0.58,
            memory: Some(512 * MB),
            ..NOTHING
        },
        Case {
            name: "v2 in a namespace, where the path leads outside",
            files: &[
                STATUS,
                MOUNTS2,
                ("proc/self/cgroup", "0::/../../x\n"),
                ("sys/fs/cgroup/cpu.max", "200000 100000"),
            ],
            cpus: 2.0,
            threads: 2,
            ..NOTHING
        },
        Case {
            name: "v2 only a part of the hierarchy is mounted, at a path with a space",
            files: &[
                ("proc/self/mountinfo", "30 25 0:26 /docker/1 /mnt/c\\040g rw shared:4 - cgroup2 none rw"),
                ("proc/self/cgroup", "0::/docker/1/app\n"),
                ("mnt/c g/app/cpu.max", "400000 100000"),
                ("mnt/c g/memory.max", "1073741824"),
            ],
            cpus: 4.0,
            memory: Some(1 << 30),
            threads: 4,
            ..NOTHING
        },
        Case {
            name: "v1",
            files: &[
                STATUS,
                MOUNTS1,
                GROUP1,
                ("sys/fs/cgroup/cpu,cpuacct/c/d/cpu.cfs_quota_us", "-1"),
                ("sys/fs/cgroup/cpu,cpuacct/c/d/cpu.cfs_period_us", "100000"),
                ("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "199990"),
                ("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "100000"),
                ("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "134217728"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
            ],
            cpus: 1.9999,
            memory: Some(128 * MB),
            threads: 2,
            ..NOTHING
        },
        Case {
            name: "physical memory",
            files: &[("proc/meminfo", "MemTotal:       24691492 kB\nMemFree: 1 kB\n")],
            memory: Some(24_691_492 * 1024),
            ..NOTHING
        },
        Case {
            name: "Lambda",
            files: &[STATUS],
            variables: &[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"), ("AWS_LAMBDA_FUNCTION_NAME", "f")],
            cpus: 512.0 / 1769.0,
            memory: Some(512 * MB),
            ..NOTHING
        },
        Case {
            name: "a large Lambda",
            files: &[STATUS],
            variables: &[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "10240"), ("LAMBDA_TASK_ROOT", "/var/task")],
            cpus: 10240.0 / 1769.0,
            memory: Some(10240 * MB),
            threads: 5,
        },
        Case {
            name: "the size alone is no Lambda",
            files: &[STATUS],
            variables: &[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")],
            cpus: 8.0,
            threads: 8,
            ..NOTHING
        },
        Case {
            name: "the user knows better",
            files: &[STATUS],
            variables: &[(THREADS_VARIABLE, " 3 ")],
            cpus: 8.0,
            threads: 3,
            ..NOTHING
        },
        Case { name: "an empty variable", variables: &[(THREADS_VARIABLE, "")], ..NOTHING },
        Case {
            name: "garbage",
            files: &[
                ("proc/self/status", "Cpus_allowed_list:\t5-2,x\n"),
                ("proc/self/mountinfo", "30 25 0:26\n - - -\ncgroup2\n30 25 0:26 / /c rw - cgroup2 none rw"),
                ("proc/self/cgroup", "0::/\n:::\n\n0\n0::/a"),
                ("c/cpu.max", "NaN inf"),
                ("c/a/cpu.max", "1e999 0"),
                ("c/memory.max", "-5"),
                ("c/a/memory.max", "99999999999999999999999"),
                ("proc/meminfo", "MemTotal: 18446744073709551615 kB"),
            ],
            variables: &[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "-1"), ("AWS_LAMBDA_FUNCTION_NAME", "f")],
            ..NOTHING
        },
    ];
    for case in cases {
        let found = detect(&case).unwrap();
        let close = (found.cpus - case.cpus).abs() < 1e-9;
        assert!(close, "{}: {} instead of {}, {:?}", case.name, found.cpus, case.cpus, found.sources);
        assert_eq!((found.memory, found.threads()), (case.memory, case.threads), "{}: {:?}", case.name, found.sources);
    }
}

#[test]
fn a_wrong_number_of_threads_is_an_error() {
    for text in ["0", "-1", "two", "1.5", "1025", "99999999999999999999"] {
        let variables: &'static [(&str, &str)] = Box::leak(Box::new([(THREADS_VARIABLE, text)]));
        let error = detect(&Case { variables, ..NOTHING }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Option);
        assert!(error.to_string().contains(text) && error.to_string().contains(THREADS_VARIABLE), "{error}");
    }
}

#[test]
fn platforms_are_known_by_their_variables() {
    let cases: [(&'static [(&str, &str)], _); 4] = [
        (&[], None),
        (&[("K_SERVICE", "s")], Some("cloud-run")),
        (&[("FUNCTIONS_WORKER_RUNTIME", "python")], Some("azure-functions")),
        (&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), ("K_SERVICE", "")], Some("aws-lambda")),
    ];
    for (variables, expected) in cases {
        assert_eq!(detect(&Case { variables, ..NOTHING }).unwrap().platform, expected);
    }
}

#[test]
fn this_machine_has_resources() {
    let found = current().unwrap();
    assert!(found.cpus > 0.0 && found.threads() >= 1 && !found.sources.is_empty());
    assert!(found.threads_why().contains("CPUs"));
    assert_eq!(*refresh().unwrap(), *found);
}
