//! Names of metrics: in queries, in what a daemon shows, in the manual.

use std::collections::{BTreeMap, BTreeSet};

use crate::shipped;

/// A metric's kind and labels.
pub(crate) type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// Words of the query language that are no names, where they do not stand before a parenthesis.
const WORDS: [&str; 13] = [
    "and", "or", "unless", "bool", "offset", "by", "without", "sum", "min", "max", "avg", "count",
    "inf",
];
/// Before a list of labels.
const BEFORE_LABELS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

/// The metrics that a query asks for.
pub(crate) fn in_query(query: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let chars: Vec<char> = query.chars().collect();
    let mut at = 0;
    let skip_to = |from: usize, end: char| {
        let rest = chars[from..].iter().position(|c| *c == end);
        from + rest.expect("what is opened is closed") + 1
    };
    while at < chars.len() {
        match chars[at] {
            '"' => at = skip_to(at + 1, '"'),
            '\'' => at = skip_to(at + 1, '\''),
            // Matchers hold no braces here.
            '{' => at = skip_to(at, '}'),
            '[' => at = skip_to(at, ']'),
            c if c.is_ascii_alphabetic() || c == '_' || c == ':' => {
                let rest = &chars[at..];
                let part = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == ':';
                let length = rest.iter().position(|c| !part(c)).unwrap_or(rest.len());
                let name: String = rest[..length].iter().collect();
                at += length;
                let mut next = at;
                while chars.get(next).is_some_and(|c| c.is_whitespace()) {
                    next += 1;
                }
                let called = chars.get(next) == Some(&'(');
                if called && BEFORE_LABELS.contains(&&*name) {
                    at = skip_to(next, ')');
                } else if !called && !WORDS.contains(&&*name.to_lowercase()) {
                    names.insert(name);
                }
            }
            c if c.is_ascii_digit() => {
                // A number, with its exponent or unit.
                let rest = chars[at..].iter();
                at += rest
                    .take_while(|c| c.is_ascii_alphanumeric() || **c == '.')
                    .count();
            }
            _ => at += 1,
        }
    }
    names
}

/// The metrics that the manual describes, from its tables.
pub(crate) fn described() -> Described {
    let plain = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let text = shipped::read("docs/metrics.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').collect();
        let name = cells[0].trim().strip_suffix('`')?.to_owned();
        if !["squire_", "lance_"].iter().any(|of| name.starts_with(of)) || name.contains(':') {
            return None;
        }
        let labels = cells[2].split(',').map(plain);
        let labels = labels.filter(|label| !label.is_empty()).collect();
        Some((name, (plain(cells[1]), labels)))
    });
    rows.collect()
}

/// The metrics that a daemon shows.
pub(crate) fn shown(body: &str) -> Described {
    let mut shown = Described::new();
    for line in body.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').expect("a name and a kind");
            shown.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (metric, value) = line.rsplit_once(' ').expect("a metric and a value");
            value.parse::<f64>().expect("a sample is a number");
            let (name, labels) = metric.split_once('{').unwrap_or((metric, "}"));
            let name = family(name, &shown).expect("a sample has a type");
            let labels = labels.strip_suffix('}').expect("labels are closed");
            let labels = labels
                .split("\",")
                .filter_map(|label| label.split_once("=\""));
            let names = labels.map(|(name, _)| name).filter(|name| *name != "le");
            let entry = shown.get_mut(&name).expect("it is there");
            entry.1.extend(names.map(str::to_owned));
        }
    }
    shown
}

/// The metric that a sample of this name is of: a histogram has samples of several names.
pub(crate) fn family(name: &str, shown: &Described) -> Option<String> {
    let parts = ["_bucket", "_sum", "_count"].iter();
    let whole = parts.filter_map(|part| name.strip_suffix(part));
    let of_histogram = whole.filter(|whole| {
        let kind = shown.get(*whole).map(|(kind, _)| kind.as_str());
        kind == Some("histogram")
    });
    let mut found = of_histogram.chain(shown.contains_key(name).then_some(name));
    found.next().map(str::to_owned)
}

#[test]
fn names_are_found_in_queries_and_functions_labels_and_values_are_not() {
    for (query, names) in [
        (
            "up{job=\"squire\"} == 0 or absent(up{job=\"node\"})",
            &["up"][..],
        ),
        (
            "histogram_quantile(0.99, sum by (job, le) (rate(a_bucket[1h]))) > 1e6",
            &["a_bucket"],
        ),
        (
            "a / on (x, y) group_left () (b:c:d > 0) unless ignoring (z) e offset 5m",
            &["a", "b:c:d", "e"],
        ),
        (
            "time() - t{s=~\"x|y\"} > 180 and clamp_min(6 * u, 120)",
            &["t", "u"],
        ),
    ] {
        let expected: BTreeSet<_> = names.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(in_query(query), expected, "{query}");
    }
}
