//! The name that was probably meant, for messages.

/// The known name most like `unknown`, if any is like it at all.
pub(crate) fn nearest<T: AsRef<str>>(unknown: &str, known: impl Iterator<Item = T>) -> Option<T> {
    const ALIKE: f64 = 0.5;
    let likeness = |name: &T| {
        strsim::normalized_damerau_levenshtein(
            &unknown.to_lowercase(),
            &name.as_ref().to_lowercase(),
        )
    };
    known
        .map(|name| (likeness(&name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
