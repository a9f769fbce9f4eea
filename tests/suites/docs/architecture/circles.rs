//! Circles in a graph of files.

use std::collections::{BTreeMap, BTreeSet};

use super::Uses;

/// A circle for each group of files that all reach each other: the shortest through its first file, which stands at both ends.
pub(super) fn all(uses: &Uses) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for file in uses.keys() {
        if seen.contains(file) {
            continue;
        }
        if let Some(circle) = shortest(uses, file) {
            seen.extend(together(uses, file));
            circles.push(circle);
        }
    }
    circles
}

fn used<'a>(uses: &'a Uses, file: &str) -> impl Iterator<Item = &'a String> {
    uses.get(file).into_iter().flatten()
}

/// The shortest way from a file back to itself.
fn shortest(uses: &Uses, start: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ahead = vec![start];
    while !ahead.is_empty() {
        let mut next = Vec::new();
        for file in ahead {
            for other in used(uses, file) {
                if other == start {
                    let mut way = vec![start.to_owned()];
                    let mut at = file;
                    while at != start {
                        way.push(at.to_owned());
                        at = before[at];
                    }
                    way.push(start.to_owned());
                    way.reverse();
                    return Some(way);
                }
                if !before.contains_key(other.as_str()) {
                    before.insert(other, file);
                    next.push(other.as_str());
                }
            }
        }
        ahead = next;
    }
    None
}

fn reach(uses: &Uses, start: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![start.to_owned()];
    while let Some(file) = ahead.pop() {
        for other in used(uses, &file) {
            if reached.insert(other.clone()) {
                ahead.push(other.clone());
            }
        }
    }
    reached
}

/// The files that a file reaches and that reach it.
fn together(uses: &Uses, file: &str) -> BTreeSet<String> {
    let mut reached = reach(uses, file);
    reached.retain(|other| reach(uses, other).contains(file));
    reached
}
