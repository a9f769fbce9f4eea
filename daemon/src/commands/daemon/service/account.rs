//! As whom the service runs. Pure.

/// The user that the package makes, and that is made where no other user is given.
pub(super) const OWN: &str = "squire";

/// As whom the service runs: the user who is asked for; or who owns all of the local targets, unless that is root;
/// or else one of its own. `owners` are their names, with nothing for who has no name.
pub(super) fn chosen(asked: Option<&str>, owners: &[Option<String>]) -> String {
    if let Some(asked) = asked {
        return asked.to_owned();
    }
    match owners {
        [Some(first), rest @ ..]
            if first != "root" && rest.iter().all(|owner| owner.as_ref() == Some(first)) =>
        {
            first.clone()
        }
        _ => OWN.to_owned(),
    }
}

/// Whether systemd takes a text for the name of a user, and for nothing else.
pub(super) fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let follows = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    begins && text.len() <= 31 && text.chars().all(follows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(names: &[&str]) -> Vec<Option<String>> {
        let name = |name: &&str| (!name.is_empty()).then(|| (*name).to_owned());
        names.iter().map(name).collect()
    }

    #[test]
    fn it_runs_as_who_owns_all_targets_and_never_by_itself_as_root() {
        assert_eq!(chosen(None, &owners(&["app", "app"])), "app");
        assert_eq!(chosen(None, &owners(&["app", "data"])), "squire");
        assert_eq!(chosen(None, &owners(&["app", ""])), "squire");
        assert_eq!(chosen(None, &owners(&["root"])), "squire");
        assert_eq!(chosen(None, &owners(&[])), "squire");
        assert_eq!(chosen(Some("keeper"), &owners(&["app"])), "keeper");
    }

    #[test]
    fn a_name_is_no_number_and_no_line_of_a_unit() {
        assert!(is_name("lance-db_1"));
        for text in ["", "0", "-x", "a b", "a\nUser=root", "%u"] {
            assert!(!is_name(text), "{text:?}");
        }
    }
}
