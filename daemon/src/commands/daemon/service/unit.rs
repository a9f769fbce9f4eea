//! The unit, made of the hardened one in `systemd/`: with this program, this configuration and these folders. Pure.

use std::path::Path;

use super::{reach::Reach, words};

/// The hardened unit.
const HARDENED: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../systemd/squire.service"
));
/// Where the hardened unit has the program, and the configuration that the program takes by itself.
const PROGRAM: &str = "/usr/bin/squire";
pub(super) const CONFIG: &str = "/etc/squire/squire.toml";

/// The first line of whatever is written: what has it may be taken away again.
pub(super) const HEADER: &str = "# Written by `squire service install`.";

/// Lines of the hardened unit that a user's service manager cannot carry out, or that say what it has anyway. The others
/// it can, since `PrivateUsers=` gives the service a namespace of its own.
const NOT_A_USERS: [&str; 7] = [
    "After",
    "Environment",
    "Group",
    "PrivateDevices",
    "RemoveIPC",
    "User",
    "Wants",
];

/// Who runs the service.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RunBy {
    /// The service manager of the machine, as this user and group.
    Machine { user: String, group: String },
    /// The service manager of a user.
    User,
}

/// What a unit is to say.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) run_by: RunBy,
    pub(super) program: &'a str,
    pub(super) config: &'a str,
    /// `daemon.memory`, in bytes.
    pub(super) memory: u64,
    pub(super) reach: &'a Reach,
}

impl Wanted<'_> {
    /// The whole unit.
    pub(super) fn unit(&self) -> String {
        let mut unit = self.header("The unit of the service");
        let mut comments = String::new();
        for line in HARDENED.lines() {
            if line.starts_with('#') {
                comments.push_str(line);
                comments.push('\n');
                continue;
            }
            // What is said of a line goes with it.
            let said = std::mem::take(&mut comments);
            if let Some(line) = self.instead_of(line) {
                unit.push_str(&said);
                unit.push_str(&line);
                unit.push('\n');
            }
        }
        unit
    }

    /// A drop-in for a unit that is there, with what that one cannot know.
    pub(super) fn drop_in(&self) -> String {
        let mut text = self.header("What the service of the package needs besides");
        text.push_str("[Service]\n");
        for line in HARDENED.lines() {
            if self.drops_in(line)
                && let Some(instead) = self.instead_of(line)
                && instead != line
            {
                text.push_str(&instead);
                text.push('\n');
            }
        }
        text
    }

    fn drops_in(&self, line: &str) -> bool {
        let key = line.split('=').next().unwrap_or(line);
        matches!(key, "MemoryHigh" | "MemoryMax" | "ProtectHome")
    }

    fn header(&self, what: &str) -> String {
        format!(
            "{HEADER} {what}, for the local targets of\n# {}. Do not change it: `systemctl edit squire` lays more over it. \
             After a change of the targets or of\n# daemon.memory, run `squire service install` again.\n",
            self.config.escape_default()
        )
    }

    /// What stands in the place of a line of the hardened unit; nothing when it is left out.
    fn instead_of(&self, line: &str) -> Option<String> {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let of_user = self.run_by == RunBy::User;
        if of_user && NOT_A_USERS.contains(&key) {
            return None;
        }
        let value = match (key, &self.run_by) {
            ("User", RunBy::Machine { user, .. }) => user.clone(),
            ("Group", RunBy::Machine { group, .. }) => group.clone(),
            ("WantedBy", RunBy::User) => "default.target".to_owned(),
            ("ExecCondition", _) => self.condition(value),
            ("ExecStartPre" | "ExecStart" | "ExecReload", _) => self.command(value),
            ("MemoryHigh", _) => mebibytes(self.memory + (256 << 20).max(self.memory / 8)),
            ("MemoryMax", _) => mebibytes(self.memory + (512 << 20).max(self.memory / 4)),
            ("ProtectHome", _) => {
                let mut lines = vec![self.reach.protect_home(of_user).to_owned()];
                lines.extend(self.reach.lines(of_user));
                lines.join("\n")
            }
            _ => return Some(line.to_owned()),
        };
        Some(format!("{key}={value}"))
    }

    /// A command line of the hardened unit, with this program and this configuration.
    fn command(&self, hardened: &str) -> String {
        let arguments = hardened.strip_prefix(PROGRAM).unwrap_or(hardened);
        let mut command = words::argument(self.program) + arguments;
        // `reload` asks the daemon, which knows its configuration.
        if self.config != CONFIG && !arguments.starts_with(" reload") {
            command += " --config ";
            command += &words::argument(self.config);
        }
        command
    }

    /// The condition runs in a shell, which is given words and no text to read again.
    fn condition(&self, hardened: &str) -> String {
        if self.program == PROGRAM && self.config == CONFIG {
            return hardened.to_owned();
        }
        let script =
            r#"'"$$0" check --has-targets --config "$$1" >/dev/null 2>&1; test $$? -ne 1'"#;
        format!(
            "/bin/sh -c {script} {} {}",
            words::argument(self.program),
            words::argument(self.config)
        )
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{}M", bytes >> 20)
}

/// Whether a text begins as all do that `squire service install` wrote.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(HEADER)
}

/// A user for the service, as `systemd-sysusers` makes it.
pub(super) fn sysusers(user: &str) -> String {
    format!("{HEADER}\nu {user} - \"Squire, maintenance of Lance tables\" /var/lib/squire\n")
}

/// Whether systemd can run a program that lies there.
pub(super) fn can_be_run(program: &Path) -> bool {
    let plain = |text: &str| !text.contains(|c: char| c.is_control() || c == '$');
    program.to_str().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn unit(run_by: RunBy, program: &str, config: &str, reach: &Reach) -> String {
        let wanted = Wanted {
            run_by,
            program,
            config,
            memory: 1 << 30,
            reach,
        };
        wanted.unit()
    }

    fn machine(user: &str, group: &str) -> RunBy {
        RunBy::Machine {
            user: user.to_owned(),
            group: group.to_owned(),
        }
    }

    fn without_comments(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn with_nothing_of_its_own_it_is_the_hardened_unit() {
        let unit = unit(
            machine("squire", "squire"),
            PROGRAM,
            CONFIG,
            &Reach::default(),
        );
        assert!(is_ours(&unit));
        assert!(unit.ends_with(HARDENED), "{unit}");
    }

    #[test]
    fn program_configuration_user_and_folders_are_written_in_and_all_else_stays() {
        let reach = Reach {
            written: vec![PathBuf::from("/srv/my lake")],
            read: Vec::new(),
        };
        let unit = unit(
            machine("app", "data"),
            "/opt/a b/squire",
            "/etc/100%/x.toml",
            &reach,
        );
        let lines = without_comments(&unit);
        for line in [
            "User=app",
            "Group=data",
            "ExecStartPre=\"/opt/a b/squire\" check --config /etc/100%%/x.toml",
            "ExecStart=\"/opt/a b/squire\" run --config /etc/100%%/x.toml",
            "ExecReload=\"/opt/a b/squire\" reload",
            "ProtectHome=yes",
            "ReadWritePaths=\"-/srv/my lake\"",
        ] {
            assert!(lines.contains(&line), "{line} is not in\n{unit}");
        }
        let condition = lines.iter().find(|line| line.starts_with("ExecCondition="));
        assert!(
            condition.is_some_and(|line| line.ends_with(" \"/opt/a b/squire\" /etc/100%%/x.toml")),
            "{condition:?}"
        );
        let kept = without_comments(HARDENED);
        let changed = kept.iter().filter(|line| !lines.contains(line)).count();
        assert_eq!(changed, 6, "User, Group and the four commands:\n{unit}");
    }

    #[test]
    fn a_users_unit_has_no_line_that_a_users_manager_cannot_carry_out() {
        let unit = unit(
            RunBy::User,
            PROGRAM,
            "/home/a/.config/squire/squire.toml",
            &Reach::default(),
        );
        for line in without_comments(&unit) {
            let key = line.split('=').next().unwrap();
            assert!(!NOT_A_USERS.contains(&key), "{line}");
        }
        assert!(unit.contains("\nWantedBy=default.target\n"), "{unit}");
        assert!(unit.contains("\nProtectHome=read-only\n"), "{unit}");
    }

    #[test]
    fn every_line_that_is_left_out_for_a_user_is_one_of_the_hardened_unit() {
        for key in NOT_A_USERS {
            let line = format!("\n{key}=");
            assert!(HARDENED.contains(&line), "{key}");
        }
    }

    #[test]
    fn the_limits_of_memory_follow_from_the_budget() {
        let reach = Reach::default();
        let wanted = Wanted {
            run_by: RunBy::User,
            program: PROGRAM,
            config: CONFIG,
            memory: 4 << 30,
            reach: &reach,
        };
        let text = wanted.drop_in();
        assert!(
            text.contains("\nMemoryHigh=4608M\nMemoryMax=5120M\n"),
            "{text}"
        );
    }

    #[test]
    fn a_drop_in_says_only_what_the_packages_unit_cannot_know() {
        let reach = Reach {
            written: vec![PathBuf::from("/home/app/lake")],
            read: Vec::new(),
        };
        let wanted = Wanted {
            run_by: machine("squire", "squire"),
            program: "/usr/local/bin/squire",
            config: CONFIG,
            memory: 1 << 30,
            reach: &reach,
        };
        let text = wanted.drop_in();
        assert_eq!(
            without_comments(&text),
            [
                "[Service]",
                "ProtectHome=tmpfs",
                "BindPaths=-/home/app/lake"
            ]
        );
        assert!(is_ours(&text));
    }

    #[test]
    fn a_program_whose_path_systemd_would_read_as_something_else_is_not_run() {
        assert!(can_be_run(Path::new("/opt/a b/squire")));
        assert!(!can_be_run(Path::new("/opt/$x/squire")));
        assert!(!can_be_run(Path::new("/opt/a\nb/squire")));
    }
}
