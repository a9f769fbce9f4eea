//! The crash matrix: every durable write of every kind of operation, and everything that can go wrong at it.
//!
//! Each kind is run once without a fault, on a copy of the graph that it begins with: that tells its writes, and what
//! readers see before and after. Then it is run once for each write and each fault, and healed by another process.

use std::{collections::BTreeSet, env, io::Write, time::Duration};

use futures::{StreamExt, stream};
use squire_engine::{DeleteRequest, Error, Graph, Options};
use squire_tests::{
    fault::{Fault, Faulty},
    flights::{append, planes, schema},
    patience::until_in_task,
    place::{Place, Template},
    promise::Promise,
    wrapped::Request,
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    kinds::{self, Answer, Kind, LEASE},
    repairs::repair,
    state::{Reader, State},
};

/// Cases at once. Those of stalled processes mostly wait.
const AT_ONCE: usize = 8;
/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// How a kind runs when nothing goes wrong.
struct Clean {
    kind: Kind,
    begins: Template,
    reader: Reader,
    /// The newest manifest that it begins with.
    number: u64,
    before: State,
    after: State,
    answer: Answer,
    writes: Vec<String>,
    /// The write that decides it.
    decides: Option<usize>,
    /// What every reader was promised when it began, and the objects of tables that it leaves.
    promise: Promise,
    left: BTreeSet<String>,
}

impl Clean {
    async fn run(kind: Kind, common: &Template) -> Self {
        let place = if kind.is_first {
            Place::empty()
        } else {
            common.place().await
        };
        kind.prepare(&place).await;
        let begins = place.template().await;
        let mut reader = Reader::default();
        let (number, before) = match place.manifests().await.last() {
            Some(newest) => (newest.number, reader.look(&place, newest).await),
            None => (0, State::new()),
        };
        let begun = reader.clone();
        let promise = Promise::of(&place).await;

        let faulty = Faulty::never(kind.counts);
        let answer = kind.operate(&place, options(&faulty)).await;
        let manifests = place.manifests().await;
        let after = reader.look(&place, manifests.last().unwrap()).await;
        let mut writes = faulty.writes();
        writes.truncate(kind.writes);
        let decides = manifests
            .iter()
            .find(|m| m.number > number && m.change.transition.contains("decide"));
        let decides = decides.and_then(|m| {
            let object = format!("{:020}.json", m.number);
            writes
                .iter()
                .position(|write| write.path.ends_with(&object))
        });
        Self {
            reader: begun,
            writes: writes.iter().map(shape).collect(),
            kind,
            begins,
            number,
            before,
            after,
            answer,
            decides,
            promise,
            left: below(&place).await,
        }
    }

    /// Whether readers must see the operation after this fault, whatever its caller was told; `None` when that alone
    /// tells.
    fn must_take_place(&self, n: usize, fault: Fault) -> Option<bool> {
        if self.kind.is_decided {
            return Some(true);
        }
        let decides = self.decides?;
        match fault {
            Fault::CrashBefore => Some(n > decides),
            Fault::CrashAfter => Some(n >= decides),
            Fault::Unknown | Fault::StallBefore | Fault::StallAfter => None,
        }
    }

    /// One write and one fault. Says whether the fault came to pass; panics when a promise is broken.
    async fn case(&self, n: usize, fault: Fault) -> bool {
        let place = self.begins.place().await;
        let faulty = Faulty::at(self.kind.counts, n, fault);
        let mut operation = tokio::spawn(self.kind.operate(&place, options(&faulty)));
        let told = tokio::select! {
            answer = &mut operation => Some(answer.unwrap()),
            () = faulty.struck() => match fault {
                Fault::CrashBefore | Fault::CrashAfter => {
                    operation.abort();
                    None
                }
                Fault::Unknown => Some(operation.await.unwrap()),
                Fault::StallBefore | Fault::StallAfter => {
                    self.heal(&place, false).await;
                    faulty.resume();
                    Some(operation.await.unwrap())
                }
            },
        };
        self.heal(&place, true).await;
        if !faulty.has_struck() {
            return false;
        }
        assert_eq!(shape(&faulty.writes()[n]), self.writes[n], "the same write");

        let found = self.read_all(&place).await;
        if let Some(must) = self.must_take_place(n, fault) {
            assert_eq!(&found, if must { &self.after } else { &self.before });
        }
        match told {
            Some(Answer::Done) => assert_eq!(found, self.after, "it was acknowledged"),
            Some(Answer::Not) => assert_eq!(found, self.before, "it was said to have failed"),
            Some(Answer::Unclear) | None => {}
        }
        if matches!(fault, Fault::StallBefore | Fault::StallAfter) {
            assert_eq!(told, Some(self.answer), "it goes on as if nothing had been");
        }
        if self.kind.removes {
            self.finished_by_another(&place).await;
        }
        next_operation(&place).await;
        true
    }

    /// Whatever was cut off, every manifest that is kept can be read in full, by somebody who has nothing of it in
    /// memory; and the same done again leaves what it leaves when nothing goes wrong.
    async fn finished_by_another(&self, place: &Place) {
        self.promise.holds(place).await;
        let told = self.kind.operate(place, options(&Faulty::default())).await;
        assert_eq!(told, Answer::Done, "the next one goes through");
        self.promise.holds(place).await;
        assert_eq!(below(place).await, self.left, "the next one finishes it");
    }

    /// Heals, as another process, until no ticket and no sidecar is left, and nothing that a hard drop took away.
    async fn heal(&self, place: &Place, by_hand: bool) {
        let healer = match Graph::open(place.uri(), options(&Faulty::default())).await {
            Ok(healer) => healer,
            Err(Error::NotAGraph { .. }) => return,
            Err(e) => panic!("the graph cannot be opened: {e}"),
        };
        until_in_task("nothing is left to heal", || async {
            let healed = if by_hand {
                healer.heal_now().await
            } else {
                healer.heal().await
            };
            healed.unwrap();
            if self.kind.is_repaired {
                repair(&healer).await.unwrap();
            }
            let snapshot = healer.snapshot().await.unwrap();
            let manifest = snapshot.manifest();
            let under_way = !manifest.queue.is_empty() || !manifest.purges.is_empty();
            !under_way && place.sidecars().await.is_empty()
        })
        .await;
    }

    /// What readers see in the end. Whatever they saw since it began was all of the operation or none of it.
    async fn read_all(&self, place: &Place) -> State {
        let mut reader = self.reader.clone();
        let mut last = self.before.clone();
        for manifest in place.manifests().await {
            if manifest.number < self.number {
                continue;
            }
            let state = reader.look(place, &manifest).await;
            let goes_on = state == last || (last == self.before && state == self.after);
            assert!(
                goes_on,
                "manifest {} shows {state:?}, that before {:?}; before {:?}, after {:?}",
                manifest.number, last, self.before, self.after
            );
            last = state;
        }
        last
    }
}

/// The objects of tables, by their paths below the root.
async fn below(place: &Place) -> BTreeSet<String> {
    let (_, root) = place.store().await;
    let objects = place.objects(".lance/").await;
    let paths = objects
        .iter()
        .filter_map(|path| path.strip_prefix(root.as_ref()));
    paths.map(str::to_owned).collect()
}

fn options(faulty: &Faulty) -> Options {
    Options {
        lease: LEASE,
        wrapper: faulty.wrapper(),
        ..Options::default()
    }
}

/// A write, without what is different in each run.
fn shape(write: &Request) -> String {
    let folder = write.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    // A table whose name was given before has the operation's id in its path, a segment of an index its own.
    let parts = folder.split('/').map(|part| match part.split_once('-') {
        Some((name, _)) if part.ends_with(".lance") => name,
        Some(_) if Uuid::parse_str(part).is_ok() => "<id>",
        _ => part,
    });
    format!("{:?} {}", write.verb, parts.collect::<Vec<_>>().join("/"))
}

/// The next operation on all tables goes through: it deletes every row there is, or brings the first.
async fn next_operation(place: &Place) {
    let open = Graph::open(place.uri(), Options::default()).await;
    let graph = match open {
        Ok(graph) if !graph.snapshot().await.unwrap().manifest().tables.is_empty() => graph,
        Ok(_) | Err(Error::NotAGraph { .. }) => {
            let created = Graph::create(place.uri(), schema(), Options::default()).await;
            created.expect("what was cut short can be created to the end")
        }
        Err(e) => panic!("the graph cannot be opened: {e}"),
    };
    let rows = async || {
        let snapshot = graph.snapshot().await.unwrap();
        let mut rows = 0;
        for table in snapshot.manifest().tables.keys() {
            rows += snapshot
                .open(table)
                .await
                .unwrap()
                .count_rows(None)
                .await
                .unwrap();
        }
        rows as u64
    };
    let before = rows().await;
    if before == 0 {
        graph
            .load(append("node:Plane", planes(0, 5, 1)))
            .await
            .unwrap();
        assert_eq!(rows().await, 5);
    } else {
        let snapshot = graph.snapshot().await.unwrap();
        let tables = snapshot.manifest().tables.keys();
        let all = tables.fold(DeleteRequest::new(), |all, table| {
            all.add(table.clone(), "true")
        });
        assert_eq!(graph.delete(all).await.unwrap().rows_deleted, before);
        assert_eq!(rows().await, 0);
    }
}

/// Says it whether the test passes or not.
fn say(line: &str) {
    let mut out = std::io::stderr();
    writeln!(out, "{line}").unwrap();
}

/// The kinds whose names contain `SQUIRE_MATRIX`; all of them without it.
fn chosen() -> Vec<Kind> {
    let only = env::var("SQUIRE_MATRIX").unwrap_or_default();
    let mut kinds = kinds::all();
    kinds.retain(|kind| kind.name.contains(&only));
    assert!(!kinds.is_empty(), "no kind is called {only}");
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_any_write_an_operation_is_whole_or_absent_and_nothing_is_left_over()
{
    let common = kinds::common().await.template().await;
    let (mut covered, mut total) = (0, 0);
    let mut broken = Vec::new();
    for kind in chosen() {
        let clean = std::sync::Arc::new(Clean::run(kind, &common).await);
        let writes = 0..clean.writes.len();
        assert!(!writes.is_empty(), "{} writes something", clean.kind.name);
        let cases = writes.flat_map(|n| Fault::ALL.map(|fault| (n, fault)));
        let outcomes: Vec<_> = stream::iter(cases)
            .map(|(n, fault)| {
                let at = clean.clone();
                async move {
                    let run = tokio::spawn(async move { at.case(n, fault).await });
                    let abort = run.abort_handle();
                    let outcome = timeout(PATIENCE, run).await;
                    abort.abort();
                    (n, fault, outcome)
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut came_to_pass = 0;
        for (n, fault, outcome) in &outcomes {
            let case = format!(
                "{}, {fault:?} at {n}, {}",
                clean.kind.name, clean.writes[*n]
            );
            match outcome {
                Ok(Ok(true)) => came_to_pass += 1,
                Ok(Ok(false)) => broken.push(format!("{case}: the fault did not come to pass")),
                Ok(Err(e)) => broken.push(format!("{case}: {e}")),
                Err(_) => broken.push(format!("{case}: it hangs")),
            }
        }
        say(&format!(
            "crash matrix: {:<46} {came_to_pass:>4} of {:>4}",
            clean.kind.name,
            outcomes.len()
        ));
        covered += came_to_pass;
        total += outcomes.len();
    }
    say(&format!(
        "crash matrix: {:<46} {covered:>4} of {total:>4}",
        "in all"
    ));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(covered, total);
}
