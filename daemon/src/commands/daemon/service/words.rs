//! Words as systemd reads them: quoted and escaped, so that a path stays one word and means itself. Pure.

/// A path as a word of a list of paths, such as `ReadWritePaths=`. With a `-` before it, systemd passes over it as long
/// as it is not there.
pub(super) fn path(path: &str) -> String {
    word(path, "\\\":", "")
}

/// The same, when nothing of the unit works without it.
pub(super) fn optional_path(path: &str) -> String {
    self::path(&format!("-{path}"))
}

/// An argument of a command line, such as `ExecStart=` has.
pub(super) fn argument(text: &str) -> String {
    word(text, "\\\"", "$")
}

/// Quotes what is not plain. `escaped` are preceded by a backslash; `doubled` stand for themselves when they are written
/// twice, as does `%`, which begins a specifier everywhere.
fn word(text: &str, escaped: &str, doubled: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@,=~%".contains(c);
    let mut written = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        if escaped.contains(c) {
            written.push('\\');
        }
        if c == '%' || doubled.contains(c) {
            written.push(c);
        }
        written.push(c);
    }
    if !text.is_empty() && text.chars().all(plain) {
        written
    } else {
        format!("\"{written}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_stays_as_it_is() {
        assert_eq!(path("/var/lib/lance-db_1.0"), "/var/lib/lance-db_1.0");
        assert_eq!(argument("/usr/bin/squire"), "/usr/bin/squire");
        assert_eq!(optional_path("/srv/lake"), "-/srv/lake");
    }

    #[test]
    fn blanks_quotes_backslashes_and_specifiers_stay_part_of_the_word() {
        assert_eq!(path("/srv/my data"), r#""/srv/my data""#);
        assert_eq!(path(r#"/srv/a"b'c"#), r#""/srv/a\"b'c""#);
        assert_eq!(path(r"/srv/a\b"), r#""/srv/a\\b""#);
        assert_eq!(path("/srv/100%"), "/srv/100%%");
        assert_eq!(path("/srv/%h $x"), r#""/srv/%%h $x""#);
        assert_eq!(path("/srv/größe"), "\"/srv/größe\"");
        assert_eq!(argument("/srv/%h $x"), r#""/srv/%%h $$x""#);
        assert_eq!(argument("a;b"), r#""a;b""#);
        assert_eq!(argument(""), r#""""#);
    }

    #[test]
    fn a_colon_does_not_end_the_source_of_a_bind_mount() {
        assert_eq!(path("/srv/a:b"), r#""/srv/a\:b""#);
        assert_eq!(argument("a:b"), r#""a:b""#);
    }
}
