//! What the daemon needs of this machine: its port, its memory, its state folder.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use squire_config::Daemon;

use super::{finding::Finding, targets::may_write};
use crate::{
    output,
    service::{folders, pauses},
};

/// Checks all of it.
pub(super) async fn probe(daemon: &Daemon) -> Vec<Finding> {
    vec![
        listen(daemon.listen),
        memory(daemon.memory, limit_here()),
        state_dir(folders::state_dir(daemon).as_deref()),
    ]
}

fn listen(address: SocketAddr) -> Finding {
    const ABOUT: &str = "listen";
    match TcpListener::bind(address) {
        Ok(_) => Finding::good(ABOUT, format!("{address} is free")),
        // A daemon that runs while its next configuration is checked is no fault.
        Err(e) if e.kind() == ErrorKind::AddrInUse => Finding::note(
            ABOUT,
            format!(
                "{address} is taken: by the daemon, if it runs; otherwise choose another daemon.listen"
            ),
        ),
        Err(e) => Finding::bad(
            ABOUT,
            1,
            format!("cannot listen on {address}: {e}; choose another daemon.listen"),
        ),
    }
}

/// What this process may take, and who says so.
struct Limit {
    bytes: u64,
    by: &'static str,
}

/// Judges a memory budget: outside of it are pages of files and what a scan of one huge value takes, so that a limit that
/// is just as large is too close.
fn memory(budget: u64, limit: Option<Limit>) -> Finding {
    const ABOUT: &str = "memory";
    let used = output::bytes(budget);
    let Some(Limit { bytes, by }) = limit else {
        return Finding::note(ABOUT, format!("{used}; what this machine has is not known"));
    };
    let most = output::bytes(bytes);
    if budget > bytes {
        let fix = format!("lower daemon.memory to four fifths of {most}, or raise the limit");
        Finding::bad(ABOUT, 2, format!("{used} is more than {by}, {most}: {fix}"))
    } else if budget > bytes / 10 * 9 {
        let message = format!(
            "{used} is nearly all of {by}, {most}: leave a tenth at least, or the kernel may end the daemon"
        );
        Finding::note(ABOUT, message)
    } else {
        Finding::good(ABOUT, format!("{used} of {by}, {most}"))
    }
}

/// The tightest of the limits that hold here: the machine's memory, and that of each control group around this process.
fn limit_here() -> Option<Limit> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| machine_bytes(&text));
    let group = read(Path::new("/proc/self/cgroup")).and_then(|text| group_bytes(&text, read));
    let machine = machine.map(|bytes| Limit {
        bytes,
        by: "this machine's memory",
    });
    let group = group.map(|bytes| Limit {
        bytes,
        by: "the control group's limit (MemoryMax=)",
    });
    machine
        .into_iter()
        .chain(group)
        .min_by_key(|limit| limit.bytes)
}

/// `MemTotal` of `/proc/meminfo`.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The least `memory.max` from a process's group up to the root, by its `/proc/self/cgroup`.
fn group_bytes(of_process: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let group = of_process
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))?;
    let groups = Path::new("/sys/fs/cgroup").join(group);
    let limits = groups
        .ancestors()
        .take_while(|path| path.starts_with("/sys/fs/cgroup"));
    limits
        .filter_map(|path| read(&path.join("memory.max"))?.trim().parse().ok())
        .min()
}

fn state_dir(folder: Option<&Path>) -> Finding {
    const ABOUT: &str = "state_dir";
    let Some(folder) = folder else {
        let message = "there is none: a restart forgets pauses; set daemon.state_dir";
        return Finding::note(ABOUT, message);
    };
    // The daemon makes the folder where it is not there.
    let there = folder
        .ancestors()
        .find(|path| path.exists())
        .map(PathBuf::from);
    match there {
        Some(there) if there.is_dir() && may_write(&there) => match pauses::file::read(folder) {
            Ok(_) => Finding::good(ABOUT, format!("{} can be written", folder.display())),
            Err(why) => Finding::bad(
                ABOUT,
                1,
                format!(
                    "the pauses cannot be read ({why}): the daemon would begin with every target paused. Fix the file, or remove it when nothing need stay paused"
                ),
            ),
        },
        there => {
            let there = there.unwrap_or_else(|| folder.to_owned());
            let message = format!(
                "this user cannot write {}: give it the right to, or choose another daemon.state_dir",
                there.display()
            );
            Finding::bad(ABOUT, 1, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::finding::Grade;

    const GIB: u64 = 1 << 30;

    fn limited(bytes: u64) -> Option<Limit> {
        Some(Limit {
            bytes,
            by: "a limit",
        })
    }

    #[test]
    fn a_budget_above_the_limit_is_wrong_and_one_next_to_it_is_worth_a_note() {
        assert_eq!(memory(2 * GIB, limited(GIB)).grade, Grade::Bad(2));
        assert_eq!(memory(GIB, limited(GIB)).grade, Grade::Note);
        assert_eq!(memory(GIB, limited(2 * GIB)).grade, Grade::Good);
        assert_eq!(memory(GIB, None).grade, Grade::Note);
    }

    #[test]
    fn the_tightest_group_around_the_process_counts() {
        let read = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/system.slice/squire.service/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/system.slice/memory.max" => Some("1073741824\n".to_owned()),
            _ => None,
        };
        let of_process = "1:name=systemd:/x\n0::/system.slice/squire.service\n";
        assert_eq!(group_bytes(of_process, read), Some(GIB));
        assert_eq!(group_bytes("0::/\n", read), None);
        assert_eq!(group_bytes("4:memory:/x\n", read), None);
    }

    #[test]
    fn the_memory_of_the_machine_is_read_in_bytes() {
        let meminfo = "MemTotal:       24689588 kB\nMemFree: 1 kB\n";
        assert_eq!(machine_bytes(meminfo), Some(24_689_588 * 1024));
    }

    #[test]
    fn a_port_that_is_taken_is_a_note_as_the_daemon_may_run() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listen(taken.local_addr().unwrap()).grade, Grade::Note);
    }
}
