//! Patterns of table names: `*` stands for any characters, `?` for one.

/// Whether a name is as a pattern says.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    // `reached[n]`: the pattern so far can be the first n characters of the name.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for part in pattern {
        let mut next = vec![false; name.len() + 1];
        next[0] = part == '*' && reached[0];
        for n in 1..=name.len() {
            next[n] = match part {
                '*' => reached[n] || next[n - 1],
                '?' => reached[n - 1],
                c => reached[n - 1] && c == name[n - 1],
            };
        }
        reached = next;
    }
    reached[name.len()]
}

/// Whether some name is as both patterns say.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let width = other.len() + 1;
    // `met[a][b]`: the first a parts of one and the first b of the other can be the same text.
    let mut met = vec![false; (one.len() + 1) * width];
    for a in 0..=one.len() {
        for b in 0..width {
            let at = |a: usize, b: usize| met[a * width + b];
            let star = |parts: &[char], n: usize| n > 0 && parts[n - 1] == '*';
            let same = |x: char, y: char| x == y || x == '?' || y == '?';
            let meets = (a == 0 && b == 0)
                || (star(&one, a) && (at(a - 1, b) || (b > 0 && at(a, b - 1))))
                || (star(&other, b) && (at(a, b - 1) || (a > 0 && at(a - 1, b))))
                || (a > 0 && b > 0 && at(a - 1, b - 1) && same(one[a - 1], other[b - 1]));
            met[a * width + b] = meets;
        }
    }
    met[one.len() * width + other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters_and_a_question_mark_is_one() {
        for (pattern, name) in [
            ("logs_*", "logs_"),
            ("logs_*", "logs_2026"),
            ("*", ""),
            ("*_old", "a_old_old"),
            ("a?c", "abc"),
            ("node:*", "node:Person"),
            ("ü*", "über"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("logs_*", "log"),
            ("a?c", "ac"),
            ("*_old", "old"),
            ("", "a"),
            ("Logs", "logs"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_overlap_when_one_name_can_be_as_both_say() {
        for (one, other) in [
            ("logs_*", "*_old"),
            ("*", "a"),
            ("a?c", "*b*"),
            ("a*b*c", "abc"),
            ("*a", "b*"),
        ] {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        for (one, other) in [("a*", "b*"), ("a?", "a"), ("*x", "*y"), ("abc", "ab")] {
            assert!(
                !overlap(one, other) && !overlap(other, one),
                "{one} {other}"
            );
        }
    }
}
