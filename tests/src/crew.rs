//! Writers in processes of their own (`squire-crew`): each opens a graph, does one piece of work, and on the way
//! stands still where it was told to, until it is told to go on or is killed.
//!
//! What a member says on standard output, line by line: `stands` at each of its stands, and in the end `done ...` or
//! `failed ...`. Any line on its standard input tells it to go on.

use std::{io, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use squire_engine::{
    DeleteRequest, Graph, LoadMode, LoadRequest, Options, Rows, SchemaRequest, input::Input,
    schema::Schema,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
};

use crate::{
    process, show,
    store::{Gate, Moment, Verb, Watch},
};

/// What a member is told to do.
#[derive(Clone, Debug)]
pub struct Order {
    /// The graph.
    pub root: String,
    /// On whose behalf.
    pub actor: String,
    /// How long it may be silent.
    pub lease: Duration,
    /// Where it stands still, one after the other.
    pub stands: Vec<Stand>,
    /// The work.
    pub work: Work,
}

/// A write at which a member stands still.
#[derive(Clone, Debug)]
pub struct Stand {
    /// Before the write, or once the store has carried it out.
    pub moment: Moment,
    /// A part of the written object's path.
    pub part: String,
    /// Whether the whole process freezes there, with its signs of life; otherwise that one write is held.
    pub frozen: bool,
}

/// One operation.
#[derive(Clone, Debug)]
pub enum Work {
    /// Files into tables.
    Load(Vec<(LoadMode, String, PathBuf)>),
    /// Rows by predicate.
    Delete(Vec<(String, String)>),
    /// A schema file.
    Schema(PathBuf),
}

impl Stand {
    /// Holds one write back; the rest of the process goes on.
    pub fn held(moment: Moment, part: &str) -> Self {
        let part = part.to_owned();
        Self {
            moment,
            part,
            frozen: false,
        }
    }

    /// Freezes the process at a write.
    pub fn frozen(moment: Moment, part: &str) -> Self {
        let frozen = true;
        Self {
            frozen,
            ..Self::held(moment, part)
        }
    }

    fn at(&self, watch: &Watch) -> Arc<Gate> {
        if self.frozen {
            watch.stall(self.moment, Verb::Put, &self.part)
        } else {
            watch.hold_at(self.moment, Verb::Put, &self.part)
        }
    }

    fn to_arg(&self) -> String {
        let how = if self.frozen { "freeze" } else { "hold" };
        let when = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        format!("{how}-{when}={}", self.part)
    }
}

impl Order {
    /// As a command line, which [`Self::parse`] reads.
    fn to_args(&self) -> Vec<String> {
        let mut args = vec![
            self.root.clone(),
            self.actor.clone(),
            self.lease.as_millis().to_string(),
        ];
        args.extend(self.stands.iter().map(Stand::to_arg));
        match &self.work {
            Work::Load(files) => args.extend(
                files
                    .iter()
                    .map(|(mode, table, file)| format!("{mode}:{table}={}", file.display())),
            ),
            Work::Delete(predicates) => args.extend(
                predicates
                    .iter()
                    .map(|(table, predicate)| format!("delete:{table}={predicate}")),
            ),
            Work::Schema(file) => args.push(format!("schema={}", file.display())),
        }
        args
    }

    /// Reads a member's command line: root, actor, lease in milliseconds, stands, work.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut next = |what: &str| args.next().ok_or_else(|| format!("it lacks {what}"));
        let (root, actor, lease) = (next("the root")?, next("the actor")?, next("the lease")?);
        let lease = lease
            .parse()
            .map_err(|e| format!("the lease is no number: {e}"))?;
        let (mut stands, mut schema) = (Vec::new(), None);
        let (mut files, mut predicates) = (Vec::new(), Vec::new());
        for arg in args {
            let bad = || format!("`{arg}` is neither a stand nor a piece of work");
            let (what, of) = arg.split_once('=').ok_or_else(bad)?;
            match what.split_once(':') {
                None if what == "schema" => schema = Some(of.into()),
                None => stands.push(match what {
                    "hold-before" => Stand::held(Moment::Before, of),
                    "hold-after" => Stand::held(Moment::After, of),
                    "freeze-before" => Stand::frozen(Moment::Before, of),
                    "freeze-after" => Stand::frozen(Moment::After, of),
                    _ => return Err(bad()),
                }),
                Some(("delete", table)) => predicates.push((table.to_owned(), of.to_owned())),
                Some((mode, table)) => files.push((mode.parse()?, table.to_owned(), of.into())),
            }
        }
        let work = match (files.is_empty(), predicates.is_empty(), schema) {
            (false, true, None) => Work::Load(files),
            (true, false, None) => Work::Delete(predicates),
            (true, true, Some(file)) => Work::Schema(file),
            _ => return Err("it needs one kind of work: a load, a delete or a schema".to_owned()),
        };
        Ok(Self {
            root,
            actor,
            lease: Duration::from_millis(lease),
            stands,
            work,
        })
    }

    /// The member's side: does the work, and says how it went.
    ///
    /// # Errors
    /// The engine's, in words; or its parent is gone.
    pub async fn carry_out(self) -> Result<String, String> {
        let watch = Watch::new();
        let gates = self.stands.iter().map(|stand| stand.at(&watch)).collect();
        tokio::select! {
            () = stand_at(gates) => Err("its parent is gone".to_owned()),
            done = self.work_with(&watch) => done.map_err(|e| e.to_string()),
        }
    }

    async fn work_with(self, watch: &Watch) -> Result<String, Box<dyn std::error::Error>> {
        let options = Options {
            actor: self.actor,
            lease: self.lease,
            wrapper: watch.wrapper(),
            ..Options::default()
        };
        let graph = Graph::open(&self.root, options).await?;
        let receipt = match self.work {
            Work::Load(files) => {
                let snapshot = graph.snapshot().await?;
                let mut request = LoadRequest::new();
                for (mode, table, file) in files {
                    let rows = Rows::File(Input::new(file));
                    request = request.add(snapshot.resolve(&table)?, mode, rows);
                }
                graph.load(request).await?
            }
            Work::Delete(predicates) => {
                let snapshot = graph.snapshot().await?;
                let mut request = DeleteRequest::new();
                for (table, predicate) in predicates {
                    request = request.add(snapshot.resolve(&table)?, predicate);
                }
                graph.delete(request).await?
            }
            Work::Schema(file) => {
                let text = std::fs::read_to_string(&file)?;
                let wanted = Schema::parse(&text, &file.to_string_lossy())?;
                graph.apply_schema(SchemaRequest::new(wanted)).await?
            }
        };
        graph.close().await;
        Ok(format!(
            "+{} -{} rows, in manifest {}",
            receipt.rows_written, receipt.rows_deleted, receipt.manifest
        ))
    }
}

/// Says at each gate in its turn that this process stands there, and opens it when it is told to go on. Returns when
/// nobody is left who could tell it anything: the process should end then.
pub async fn stand_at(gates: Vec<Arc<Gate>>) {
    let mut told = words();
    for gate in gates {
        let word = tokio::select! {
            () = gate.stands() => {
                show::say("stands");
                told.recv().await
            }
            word = told.recv() => word,
        };
        if word.is_none() {
            return;
        }
        gate.open();
    }
    while told.recv().await.is_some() {}
}

/// Lines of standard input.
fn words() -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if tell.blocking_send(line).is_err() {
                return;
            }
        }
    });
    told
}

/// A running member.
#[derive(Debug)]
pub struct Member {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
    tell: ChildStdin,
}

impl Member {
    /// Starts one.
    ///
    /// # Errors
    /// When the binary is not built or cannot be started.
    pub fn start(order: &Order) -> io::Result<Self> {
        Self::of(Command::new(process::built("squire-crew")?).args(order.to_args()))
    }

    /// Starts a program that stands and goes on as members do.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let piped = || io::Error::other("its standard input and output are piped");
        Ok(Self {
            says: BufReader::new(child.stdout.take().ok_or_else(piped)?).lines(),
            tell: child.stdin.take().ok_or_else(piped)?,
            child,
        })
    }

    /// Waits until it stands still.
    ///
    /// # Errors
    /// When it ended before it did.
    pub async fn stands(&mut self) -> io::Result<()> {
        match self.says.next_line().await? {
            Some(line) if line == "stands" => Ok(()),
            Some(line) => Err(io::Error::other(format!("it stood nowhere: {line}"))),
            None => Err(io::Error::other("it ended and said nothing")),
        }
    }

    /// Tells it to go on.
    ///
    /// # Errors
    /// When it is dead.
    pub async fn go_on(&mut self) -> io::Result<()> {
        self.tell.write_all(b"go on\n").await
    }

    /// The process's id, as long as it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// When the machine refuses.
    pub async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Waits for its end; what it did.
    ///
    /// # Errors
    /// When it failed.
    pub async fn done(mut self) -> io::Result<String> {
        let mut last = String::new();
        while let Some(line) = self.says.next_line().await? {
            last = line;
        }
        let ended = self.child.wait().await?;
        match last.strip_prefix("done ") {
            Some(what) if ended.success() => Ok(what.to_owned()),
            _ => Err(io::Error::other(format!("{ended}: {last}"))),
        }
    }
}
