//! Flags of the command line as the last layer: `--set daemon.tick=5s`.

use crate::assignment::{self, Assignment, Settable};
use crate::error::{Place, Problem, Refusal};
use crate::secrets_check;
use crate::suggest;

/// Reads what `--set` was given, in its order, and what is wrong with it.
pub(crate) fn read(flags: &[String]) -> (Vec<Assignment>, Vec<Problem>) {
    let settable = assignment::settable();
    let (mut read, mut problems) = (Vec::new(), Vec::new());
    for flag in flags {
        match assigned(flag, &settable) {
            Ok(assignment) => read.push(assignment),
            Err(problem) => problems.push(problem),
        }
    }
    (read, problems)
}

fn assigned(flag: &str, settable: &[Settable]) -> Result<Assignment, Problem> {
    let (key, text) = match flag.split_once('=') {
        Some((key, text)) => (key.trim(), Some(text)),
        None => (flag, None),
    };
    // No more of it is repeated than can be a key: it may hold a secret.
    let is_of_key = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let named: String = key.chars().take_while(is_of_key).collect();
    let place = Place::Flag(named);
    let Some(known) = settable.iter().find(|known| known.key() == key) else {
        return Err(Problem::new(place, None, unknown(key, settable)));
    };
    let Some(text) = text else {
        let fix = format!("write --set {key}=VALUE");
        let refusal = Refusal::new("it has no value", fix);
        return Err(Problem::new(place, Some(known.key()), refusal));
    };
    known.assign(place, text)
}

fn unknown(key: &str, settable: &[Settable]) -> Refusal {
    if secrets_check::is_secret(key) {
        return secrets_check::refusal();
    }
    if key.starts_with("target") {
        return Refusal::new(
            "targets are not set by flags",
            "write the target into the settings file or into a file in conf.d; \
             --set defaults... sets what all targets share",
        );
    }
    let called = |known: &&Settable| known.path().last() == Some(&key);
    let places: Vec<String> = settable.iter().filter(called).map(Settable::key).collect();
    let fix = if places.is_empty() {
        match suggest::nearest(key, settable.iter().map(Settable::key)) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "write the sections and the key, such as daemon.tick=5s".to_owned(),
        }
    } else {
        format!("write {}", places.join(" or "))
    };
    Refusal::new("not a known key", fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(flag: &str) -> String {
        let (read, problems) = read(&[flag.to_owned()]);
        assert!(read.is_empty(), "{flag}");
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_flag_sets_a_key_of_its_type() {
        let flags = ["daemon.tick=5s", "daemon.concurrency=4", "daemon.log=a=b"];
        let (read, problems) = read(&flags.map(str::to_owned));
        assert_eq!(problems, []);
        let read: Vec<_> = read
            .iter()
            .map(|a| (a.key.as_str(), a.value.to_string()))
            .collect();
        assert_eq!(
            read,
            [
                ("daemon.tick", "\"5s\"".to_owned()),
                ("daemon.concurrency", "4".to_owned()),
                ("daemon.log", "\"a=b\"".to_owned()),
            ]
        );
    }

    #[test]
    fn a_flag_that_cannot_be_followed_is_refused_by_its_key_with_the_way_to_write_it() {
        for (flag, place, fix) in [
            (
                "daemon.tik=5s",
                "--set daemon.tik: ",
                "did you mean daemon.tick?",
            ),
            ("tick=5s", "--set tick: ", "write daemon.tick"),
            (
                "daemon.tick",
                "--set daemon.tick: ",
                "write --set daemon.tick=VALUE",
            ),
            (
                "daemon.tick=5",
                "--set daemon.tick: `daemon.tick`: ",
                "a duration",
            ),
            (
                "target.name=a",
                "--set target.name: ",
                "into the settings file",
            ),
            ("=", "--set : ", "such as daemon.tick=5s"),
        ] {
            let said = refused(flag);
            assert!(said.starts_with(place) && said.contains(fix), "{said}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        for flag in ["daemon.token=hush", "daemon.password:hush", "s3://k:hush@b"] {
            assert!(!refused(flag).contains("hush"), "{flag}");
        }
    }
}
