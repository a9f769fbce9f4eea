//! The environment as a layer: `SQUIRE__DAEMON__TICK=5s` sets `daemon.tick`.

use crate::assignment::{self, Assignment, Settable};
use crate::error::{Place, Problem, Refusal};
use crate::secrets_check;
use crate::suggest;

const PREFIX: &str = "SQUIRE";
const SEPARATOR: &str = "__";

/// Takes the variables that are Squire's, in the order of their names, and what is wrong with
/// them.
pub(crate) fn read(
    variables: impl Iterator<Item = (String, String)>,
) -> (Vec<Assignment>, Vec<Problem>) {
    let mut ours: Vec<(String, String)> = variables.filter(|(name, _)| is_ours(name)).collect();
    ours.sort();
    let known: Vec<(String, Settable)> = assignment::settable()
        .into_iter()
        .map(|key| (variable(&key), key))
        .collect();
    let (mut read, mut problems) = (Vec::new(), Vec::new());
    for (name, text) in ours {
        let place = Place::Variable(name.clone());
        match known.iter().find(|(known, _)| *known == name) {
            Some((_, key)) => match key.assign(place, &text) {
                Ok(assignment) => read.push(assignment),
                Err(problem) => problems.push(problem),
            },
            None => problems.push(Problem::new(place, None, unknown(&name, &known))),
        }
    }
    (read, problems)
}

/// Whether a variable is meant for Squire.
fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.starts_with(SEPARATOR))
}

/// The name of the variable that sets a key.
fn variable(key: &Settable) -> String {
    format!(
        "{PREFIX}{SEPARATOR}{}",
        key.path().join(SEPARATOR).to_uppercase()
    )
}

fn unknown(name: &str, known: &[(String, Settable)]) -> Refusal {
    let of_targets = format!("{PREFIX}{SEPARATOR}TARGET");
    if secrets_check::is_secret(name) {
        return secrets_check::refusal();
    }
    if name.to_uppercase().starts_with(&of_targets) {
        return Refusal::new(
            "targets are not set by the environment",
            "write the target into the settings file or into a file in conf.d; \
             SQUIRE__DEFAULTS__... sets what all targets share",
        );
    }
    let fix = match suggest::nearest(name, known.iter().map(|(name, _)| name)) {
        Some(nearest) => format!("did you mean {nearest}? Otherwise unset it"),
        None => "unset it".to_owned(),
    };
    Refusal::new("no key has this variable", fix)
}
