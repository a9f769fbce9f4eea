//! Tries inputs in a process of its own: first those that are kept, then fresh ones.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use futures::FutureExt;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use squire_tests::show::say;
use tokio::runtime::{Builder, Runtime};

use crate::{
    corpus,
    faults::{self, Fault, Faults},
    order::{Order, Until, Work},
    targets::{self, Outcome, Target},
    watch::{self, Took, Watch},
};

/// The input that is tried just now, for whoever finds this process dead.
pub(crate) const CURRENT: &str = "current";
/// Why the worker gave itself up.
pub(crate) const REASON: &str = "reason";
/// What it has done so far.
pub(crate) const REPORT: &str = "report.json";

/// How often a worker looks at its case.
const LOOK: Duration = Duration::from_millis(100);

/// What was tried so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) replayed: u64,
    pub(crate) cases: u64,
    pub(crate) taken: u64,
    /// Panics of others' code that Squire made errors of, by their texts.
    pub(crate) held_panics: BTreeMap<String, u64>,
    pub(crate) most_bytes: u64,
    pub(crate) faults: Faults,
}

/// A target with all that it takes to try inputs.
struct Bench {
    target: Box<dyn Target>,
    runtime: Runtime,
    watch: Arc<Watch>,
}

/// What came of one input.
struct Tried {
    outcome: Result<Outcome, String>,
    took: Took,
    panics: Vec<watch::Panic>,
}

impl Bench {
    fn new(name: &str, watch: Arc<Watch>) -> Result<Self, String> {
        // As the daemon has it.
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let target = runtime.block_on(targets::open(name))?;
        watch::note_panics();
        Ok(Self {
            target,
            runtime,
            watch,
        })
    }

    fn hold(&self, input: &[u8]) -> Tried {
        watch::take_panics();
        self.watch.begins();
        let target = &self.target;
        // On a thread of the runtime, where the daemon does it.
        let held = self.runtime.block_on(async {
            let holding = std::panic::AssertUnwindSafe(target.hold(input));
            holding.catch_unwind().await
        });
        let took = self.watch.ends();
        let mut panics = watch::take_panics();
        let is_escaped = held.is_err();
        let own = panics.iter().find(|panic| panic.is_own());
        let outcome = match (held, own) {
            (Err(_), _) => {
                let last = panics.last().map(|panic| panic.text().to_owned());
                Err(last.unwrap_or_else(|| "panics".to_owned()))
            }
            (Ok(_), Some(own)) => Err(own.text().to_owned()),
            (Ok(Ok(_)), None) if took.bytes > target.memory() => Err(format!(
                "takes {} MiB, and may take {}",
                took.bytes >> 20,
                target.memory() >> 20
            )),
            (Ok(outcome), None) => outcome,
        };
        if is_escaped {
            panics.pop();
        }
        Tried {
            outcome,
            took,
            panics,
        }
    }
}

/// Works until the order says so, or until a case cannot be ended otherwise; whether it came to its end.
pub(crate) fn work(order: &Order) -> Result<bool, String> {
    let Work::Worker { folder, replays } = &order.work else {
        return Err("no worker was asked for".to_owned());
    };
    let watch = Arc::new(Watch::default());
    let (tell, hear) = sync_channel(1);
    let job = Job {
        order: order.clone(),
        folder: folder.clone(),
        replays: *replays,
        watch: watch.clone(),
    };
    thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(move || job.run(&tell))
        .map_err(|e| e.to_string())?;
    loop {
        match hear.recv_timeout(LOOK) {
            Ok(done) => return done.map(|()| true),
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                let Some(complaint) = watch.complaint(watch::patience()) else {
                    continue;
                };
                fs::write(folder.join(REASON), complaint).map_err(|e| e.to_string())?;
                // The process ends, and the case with it.
                return Ok(false);
            }
        }
    }
}

struct Job {
    order: Order,
    folder: std::path::PathBuf,
    replays: bool,
    watch: Arc<Watch>,
}

impl Job {
    fn run(&self, tell: &SyncSender<Result<(), String>>) {
        let done = self.try_all();
        // Who hears nothing any more has given up.
        let _ = tell.send(done);
    }

    fn try_all(&self) -> Result<(), String> {
        let name = self.order.targets.first().ok_or("no target was given")?;
        let bench = Bench::new(name, self.watch.clone())?;
        let mut tally = Tally::default();
        let kept = corpus::of(name).map_err(|e| e.to_string())?;
        let mut seeds = bench.target.seeds();
        for entry in &kept {
            if self.replays {
                self.one(&bench, &entry.input, Some(&entry.path), &mut tally)?;
            }
            seeds.push(entry.input.clone());
        }
        let mut rng = StdRng::seed_from_u64(self.order.seed);
        let (begun, mut told) = (Instant::now(), Instant::now());
        loop {
            let is_done = match self.order.until {
                Until::Cases(cases) => tally.cases >= cases,
                Until::Passed(time) => begun.elapsed() >= time,
            };
            if is_done {
                break;
            }
            let input = bench.target.fresh(&seeds, &mut rng);
            self.one(&bench, &input, None, &mut tally)?;
            if told.elapsed() > Duration::from_secs(1) {
                self.tell(&tally)?;
                told = Instant::now();
            }
        }
        self.tell(&tally)
    }

    /// Tries an input, and notes what comes of it.
    fn one(
        &self,
        bench: &Bench,
        input: &[u8],
        kept: Option<&Path>,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let current = self.folder.join(CURRENT);
        fs::write(&current, input).map_err(|e| e.to_string())?;
        let tried = bench.hold(input);
        if kept.is_some() {
            tally.replayed += 1;
        } else {
            tally.cases += 1;
            tally.taken += u64::from(matches!(tried.outcome, Ok(Outcome::Taken)));
        }
        for panic in &tried.panics {
            let key = faults::key(panic.text());
            *tally.held_panics.entry(key).or_default() += 1;
        }
        tally.most_bytes = tally.most_bytes.max(tried.took.bytes as u64);
        let Err(text) = tried.outcome else {
            return Ok(());
        };
        let key = faults::key(&text);
        if let Some(known) = tally.faults.get_mut(&key) {
            known.times += 1;
            return Ok(());
        }
        let file = match kept {
            Some(file) => file.to_owned(),
            None => {
                let is_same = |input: &[u8]| {
                    // One of them may hang.
                    let _ = fs::write(&current, input);
                    let tried = bench.hold(input);
                    tried.outcome.is_err_and(|text| faults::key(&text) == key)
                };
                let small = faults::shrink(input, is_same);
                faults::keep(&self.order.targets[0], &small).map_err(|e| e.to_string())?
            }
        };
        let times = 1;
        tally.faults.insert(key, Fault { text, file, times });
        self.tell(tally)
    }

    fn tell(&self, tally: &Tally) -> Result<(), String> {
        let faults: Vec<_> = tally
            .faults
            .values()
            .map(|fault| json!({"text": fault.text, "file": fault.file, "times": fault.times}))
            .collect();
        let report = json!({
            "replayed": tally.replayed,
            "cases": tally.cases,
            "taken": tally.taken,
            "held_panics": tally.held_panics,
            "most_bytes": tally.most_bytes,
            "faults": faults,
        });
        let new = self.folder.join("report.new");
        fs::write(&new, report.to_string()).map_err(|e| e.to_string())?;
        fs::rename(new, self.folder.join(REPORT)).map_err(|e| e.to_string())
    }
}

/// Tries one input in this process, and tells what comes of it.
pub(crate) fn replay(order: &Order, file: &Path) -> Result<bool, String> {
    let [name] = &*order.targets else {
        return Err("say which target the input is for".to_owned());
    };
    let input = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let watch = Arc::new(Watch::default());
    let bench = Bench::new(name, watch.clone())?;
    let (tell, hear) = sync_channel(1);
    thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(move || tell.send(bench.hold(&input)))
        .map_err(|e| e.to_string())?;
    loop {
        match hear.recv_timeout(LOOK) {
            Ok(tried) => {
                let (held, taken) = (tried.panics.len(), tried.took.bytes >> 10);
                let told = match &tried.outcome {
                    Ok(Outcome::Taken) => "it is taken",
                    Ok(Outcome::Refused) => "it is refused as it should be",
                    Err(fault) => fault,
                };
                say(format!("{told}; {taken} KiB, {held} panics of others held"));
                return Ok(tried.outcome.is_ok());
            }
            Err(RecvTimeoutError::Disconnected) => return Err("the case panics".to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(complaint) = watch.complaint(watch::patience()) {
                    say(complaint);
                    return Ok(false);
                }
            }
        }
    }
}
